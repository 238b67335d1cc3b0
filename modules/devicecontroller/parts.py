"""What a single cloudcore has, and what one of several replicas has in its place.

A single cloudcore serves all nodes, and nobody else writes what it writes. A replica serves the
nodes that are connected to it, each of which another one may have served a moment ago.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, Self

from modules.common.kube import Reflector
from modules.common.replicas.election import Election
from modules.common.replicas.report_fence import ReportFence
from modules.common.sync.fenced_object_syncs import FencedObjectSyncs
from modules.common.sync.journal import Item
from modules.common.sync.record import Record
from modules.common.sync.record_in_api import RecordInApi
from modules.common.sync.sync_index import SyncIndex
from modules.common.sync.takeovers import Takeovers
from modules.common.wire.generations import V1_23
from modules.devicecontroller.dependencies import Dependencies
from modules.devicecontroller.duties import Duties
from modules.devicecontroller.edges import SOURCE, Edges
from modules.devicecontroller.takeovers import DeviceTakeovers
from modules.devicecontroller.upstream import Upstream
from modules.devicecontroller.v1alpha1 import devices as v1alpha1
from modules.devicecontroller.v1alpha1.sync.record import KINDS, SyncRecord, decode
from modules.devicecontroller.v1beta1 import devices as v1beta1
from modules.devicecontroller.v1beta1.objects import RESOURCES
from supervisor.api import ReplicasSettings


class Served(Protocol):
    """The controller, which is complete when its parts run."""

    alpha: v1alpha1.Devices
    beta: v1beta1.Devices
    upstream: Upstream

    def edge_changed(self, node: str) -> None:
        """Handle what CloudHub has answered about a node."""


@dataclass(frozen=True, eq=False)
class Parts:
    """The parts of the controller that differ; a single cloudcore lacks those with a default."""

    edges: Edges
    duties: Duties
    record_in_api: RecordInApi | DeviceTakeovers
    takeovers: DeviceTakeovers | None = None
    alpha: Takeovers | None = None
    """those of v1alpha1"""
    beta: Takeovers | None = None
    """those of v1beta1"""
    sync_index: Sequence[Reflector] = ()
    fence: ReportFence | None = None
    lead: Callable[[], Coroutine[Any, Any, None]] | None = None
    """takes part in the election of the leader, and does the leader's work, until cancelled"""

    @classmethod
    def single(
        cls, common: Dependencies, told: SyncRecord, delivered: Record, controller: Served
    ) -> Self:
        """Return the parts of a single cloudcore, whose edges are those of its records."""
        edges = Edges(
            common.context, told.generations(), common.known_nodes, controller.edge_changed
        )

        def found_of_today(nodes: set[str]) -> None:
            """Note nodes that have ObjectSyncs of devices: their edges know those of v1beta1."""
            for node in nodes:
                if not edges.is_other(node):
                    controller.alpha.node_sync.learn(node, V1_23)
            edges.found_of_today(nodes)

        return cls(
            edges=edges,
            duties=Duties(edges),
            record_in_api=RecordInApi(
                common.client,
                delivered,
                RESOURCES,
                namespace=common.namespace,
                is_of_today=edges.are_of_today,
                on_found=found_of_today,
            ),
        )

    @classmethod
    def replica(
        cls,
        common: Dependencies,
        told: SyncRecord,
        delivered: Record,
        controller: Served,
        replicas: ReplicasSettings,
    ) -> Self:
        """Return the parts of a replica, whose edges are those that CloudHub says are here."""
        edges = Edges(
            common.context,
            {},
            common.known_nodes,
            controller.edge_changed,
            on_connected=lambda node, generation: controller.upstream.connected(
                node, generation, has_just=False
            ),
        )
        index = SyncIndex(
            common.client,
            (*KINDS.values(), *RESOURCES.values()),
            common.set_aside,
            namespace=common.namespace,
            of_barrier=replicas.namespace,
            not_of="edgecontroller",
        )
        alpha = _takeovers_of_alpha(common, told, index, edges, controller)
        beta = _takeovers_of_beta(common, delivered, index, controller)
        takeovers = DeviceTakeovers(alpha, beta)
        election = Election(common.client, replicas, SOURCE)
        return cls(
            edges=edges,
            duties=Duties(edges, election),
            record_in_api=takeovers,
            takeovers=takeovers,
            alpha=alpha,
            beta=beta,
            sync_index=index.reflectors,
            fence=ReportFence(common.client, replicas),
            lead=partial(election.run, partial(_lead, controller)),
        )


def _takeovers_of_alpha(
    common: Dependencies, told: SyncRecord, index: SyncIndex, edges: Edges, controller: Served
) -> Takeovers:
    def read_again(node: str, _: Item) -> None:
        """Begin anew with a node of which another replica has written the record, if it is here."""
        if edges.are_connected(node):
            controller.upstream.doubt(node)

    def forget(nodes: set[str]) -> None:
        controller.alpha.writer.forget_nodes(nodes)

    syncs = FencedObjectSyncs(
        common.client,
        told.rows,
        KINDS,
        index,
        versions_count=lambda _: False,  # edges of v1.1 acknowledge nothing
        on_foreign=read_again,
        decode=decode,
    )
    return Takeovers(common.client, told.rows, syncs, on_forgotten=forget)


def _takeovers_of_beta(
    common: Dependencies, delivered: Record, index: SyncIndex, controller: Served
) -> Takeovers:
    def send_again(node: str, item: Item) -> None:
        """Send an object again of which another replica has written the row."""
        controller.beta.updater.unsure(node, item)

    def forget(nodes: set[str]) -> None:
        controller.beta.forget(nodes)

    syncs = FencedObjectSyncs(
        common.client,
        delivered,
        RESOURCES,
        index,
        versions_count=lambda _: True,
        on_foreign=send_again,
    )
    return Takeovers(common.client, delivered, syncs, on_forgotten=forget)


async def _lead(controller: Served) -> None:
    """Do the work of the leader until cancelled."""
    for devices in (controller.alpha, controller.beta):
        devices.lead()
    await asyncio.Event().wait()  # the rest is done as things change
