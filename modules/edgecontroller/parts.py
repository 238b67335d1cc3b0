"""What a single cloudcore has, and what one of several replicas has in its place.

A single cloudcore serves all nodes, and nobody else writes what it writes. A replica serves the
nodes that are connected to it, each of which another one may have served a moment ago.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Self

from modules.common.kube import KubeClient, Reflector, Resource, SetAside
from modules.common.replicas.election import Election
from modules.common.replicas.report_fence import ReportFence
from modules.common.sync.fenced_object_syncs import FencedObjectSyncs
from modules.common.sync.gone_nodes import GoneNodes
from modules.common.sync.journal import Item
from modules.common.sync.record_in_api import RecordInApi
from modules.common.sync.sync_index import SyncIndex
from modules.common.sync.takeovers import Takeovers
from modules.edgecontroller.downstream.caches import Caches, Handle
from modules.edgecontroller.downstream.own_pods import OwnPods
from modules.edgecontroller.downstream.state import FOR_EVERY_NODE, State
from modules.edgecontroller.messages import KEPT_BY_NODES, NODE, SOURCE
from modules.edgecontroller.objects import RESOURCES
from supervisor.api import ReplicasSettings

#: What edges of today have, and with replicas those of v1.1 too.
_KINDS: Final[dict[str, Resource]] = {type_: RESOURCES[type_] for type_ in (*KEPT_BY_NODES, NODE)}

#: Services and endpoints, which all edges of v1.1 get, have one ObjectSync each.
_KINDS_OF_REPLICAS: Final = _KINDS | {type_: RESOURCES[type_] for type_ in sorted(FOR_EVERY_NODE)}


@dataclass(frozen=True, eq=False)
class Parts:
    """The parts of the controller that differ; a single cloudcore lacks those with a default."""

    pods: Reflector
    configuration: Sequence[Reflector]
    """of ConfigMaps and Secrets"""
    record_in_api: RecordInApi | Takeovers
    takeovers: Takeovers | None = None
    own_pods: OwnPods | None = None
    sync_index: Sequence[Reflector] = ()
    fence: ReportFence | None = None
    lead: Callable[[], Coroutine[Any, Any, None]] | None = None
    """takes part in the election of the leader, and does the leader's work, until cancelled"""

    @classmethod
    def single(
        cls,
        client: KubeClient,
        state: State,
        caches: Caches,
        handle_pod: Handle,
        *,
        namespace: str | None,
    ) -> Self:
        """Return the parts of a single cloudcore, which keeps all objects."""
        return cls(
            pods=caches.pods(handle_pod),
            configuration=caches.configuration(),
            record_in_api=RecordInApi(
                client,
                state.record,
                _KINDS,
                namespace=namespace,
                is_of_today=state.is_of_today,
                on_found=state.found_of_today,
            ),
        )

    @classmethod
    def replica(
        cls,
        client: KubeClient,
        state: State,
        caches: Caches,
        handle_pod: Handle,
        *,
        namespace: str | None,
        set_aside: SetAside,
        replicas: ReplicasSettings,
        on_foreign: Callable[[str, Item], None],
    ) -> Self:
        """Return the parts of a replica, which keeps what its nodes need.

        `on_foreign` gets a node and an item of which another replica has written the row.
        """
        own_pods = caches.own_pods(handle_pod)
        state.is_replica, state.pods_known = True, own_pods.known
        index = SyncIndex(
            client,
            _KINDS_OF_REPLICAS.values(),
            set_aside,
            namespace=namespace,
            of_barrier=replicas.namespace,
            not_of="devicecontroller",
        )
        syncs = FencedObjectSyncs(
            client,
            state.record,
            _KINDS_OF_REPLICAS,
            index,
            versions_count=state.is_of_today,
            on_foreign=on_foreign,
        )
        takeovers = Takeovers(client, state.record, syncs, on_forgotten=own_pods.forget)
        gone_nodes = GoneNodes(client, replicas.namespace, namespace, state.has_node)
        return cls(
            pods=own_pods,
            configuration=caches.own_configuration(),
            record_in_api=takeovers,
            takeovers=takeovers,
            own_pods=own_pods,
            sync_index=index.reflectors,
            fence=ReportFence(client, replicas),
            lead=partial(Election(client, replicas, SOURCE).run, gone_nodes.run),
        )
