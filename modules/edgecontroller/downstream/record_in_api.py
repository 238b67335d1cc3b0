"""The record in the Kubernetes API too: if it is configured to be, and with several replicas."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from modules.common.kube import KubeClient, Resource, SetAside
from modules.common.sync.fenced_object_syncs import FencedObjectSyncs
from modules.common.sync.journal import Item
from modules.common.sync.record_in_api import RecordInApi
from modules.common.sync.sync_index import SyncIndex
from modules.common.sync.takeovers import Takeovers
from modules.common.wire.generations import V1_23
from modules.edgecontroller.downstream.state import FOR_EVERY_NODE, State
from modules.edgecontroller.messages import KEPT_BY_NODES, NODE
from modules.edgecontroller.objects import RESOURCES

#: What edges of today have, and with replicas those of v1.1 too.
_KINDS: Final[dict[str, Resource]] = {type_: RESOURCES[type_] for type_ in (*KEPT_BY_NODES, NODE)}

#: Services and endpoints, which all edges of v1.1 get, have one ObjectSync each.
_KINDS_OF_REPLICAS: Final = _KINDS | {type_: RESOURCES[type_] for type_ in sorted(FOR_EVERY_NODE)}


def record_in_api(client: KubeClient, state: State, namespace: str | None) -> RecordInApi:
    """Return what keeps the record of pods, configmaps, secrets and Nodes in ObjectSyncs."""

    def found(nodes: set[str]) -> None:
        for node in nodes - state.record.generations().keys():
            state.record.set_generation(node, V1_23)  # no other edges have them
        state.generations.update(state.record.generations())

    return RecordInApi(
        client,
        state.record,
        _KINDS,
        namespace=namespace,
        is_of_today=lambda node: state.generations.get(node) == V1_23,
        on_found=found,
    )


def sync_index(
    client: KubeClient, set_aside: SetAside, namespace: str | None, of_barrier: str
) -> SyncIndex:
    """Return the index of ObjectSyncs of one of several replicas."""
    return SyncIndex(
        client,
        _KINDS_OF_REPLICAS.values(),
        set_aside,
        namespace=namespace,
        of_barrier=of_barrier,
        not_of="devicecontroller",
    )


def takeovers(
    client: KubeClient,
    state: State,
    index: SyncIndex,
    on_foreign: Callable[[str, Item], None],
    on_forgotten: Callable[[set[str]], None],
) -> Takeovers:
    """Return what keeps the record of one of several replicas."""
    syncs = FencedObjectSyncs(
        client,
        state.record,
        _KINDS_OF_REPLICAS,
        index,
        versions_count=lambda node: state.generations.get(node) == V1_23,
        on_foreign=on_foreign,
    )
    return Takeovers(client, state.record, syncs, on_forgotten=on_forgotten)
