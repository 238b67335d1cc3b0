"""Devices as one of several replicas serves them: the records in the API, and the leader's work."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from modules.common.kube import KubeClient, SetAside
from modules.common.replicas.election import Election
from modules.common.sync.fenced_object_syncs import FencedObjectSyncs
from modules.common.sync.journal import Item
from modules.common.sync.record import Record
from modules.common.sync.sync_index import SyncIndex
from modules.common.sync.takeovers import Takeovers
from modules.common.wire.generations import V1_23
from modules.devicecontroller.v1alpha1.sync.record import KINDS, SyncRecord, decode
from modules.devicecontroller.v1beta1.objects import RESOURCES
from supervisor.api import Settings


class Leading(Protocol):
    """Devices of a version, as the leader looks after them."""

    def lead(self) -> None:
        """Begin with what the leader does."""


class Replica:
    """The takeovers of both API versions, and the candidacy for the leadership."""

    def __init__(
        self,
        client: KubeClient,
        settings: Settings,
        told: SyncRecord,
        delivered: Record,
        set_aside: SetAside,
        *,
        on_foreign_alpha: Callable[[str], None],
        on_foreign_beta: Callable[[str, Item], None],
        on_forgotten_alpha: Callable[[set[str]], None],
        on_forgotten_beta: Callable[[set[str]], None],
    ) -> None:
        """Set up; the callbacks get nodes of which another replica has written the record.

        `on_forgotten_alpha` and `on_forgotten_beta` get nodes that have gone for long.
        """
        self.index = SyncIndex(
            client,
            (*KINDS.values(), *RESOURCES.values()),
            set_aside,
            namespace=settings.kubernetes.namespace or None,
            of_barrier=settings.replicas.namespace,
            not_of="edgecontroller",
        )
        syncs_of_alpha = FencedObjectSyncs(
            client,
            told.rows,
            KINDS,
            self.index,
            versions_count=lambda _: False,  # edges of v1.1 acknowledge nothing
            on_foreign=lambda node, _: on_foreign_alpha(node),
            decode=decode,
        )
        syncs_of_beta = FencedObjectSyncs(
            client,
            delivered,
            RESOURCES,
            self.index,
            versions_count=lambda _: True,
            on_foreign=on_foreign_beta,
        )
        self.alpha = Takeovers(client, told.rows, syncs_of_alpha, on_forgotten=on_forgotten_alpha)
        self.beta = Takeovers(client, delivered, syncs_of_beta, on_forgotten=on_forgotten_beta)
        self.election = Election(client, settings.replicas, "devicecontroller")

    def __len__(self) -> int:
        """Return the number of ObjectSyncs that are to be written."""
        return len(self.alpha) + len(self.beta)

    async def open(self) -> None:
        """Bring what was recorded before there were replicas into their form."""
        await self.alpha.open()
        await self.beta.open()

    async def run(self) -> None:
        """Write records until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.alpha.run())
            tasks.create_task(self.beta.run())

    async def lead(self, *devices: Leading) -> None:
        """Take part in the election until cancelled, and do the work of the leader as such."""

        async def work() -> None:
            for each in devices:
                each.lead()
            await asyncio.Event().wait()  # the rest is done as things change

        await self.election.run(work)

    def begin(self, node: str, generation: str, then: Callable[[], None]) -> None:
        """Read the record of a node that has connected, and call `then`."""
        (self.beta if generation == V1_23 else self.alpha).begin(node, then)

    def is_reading(self, node: str) -> bool:
        """Whether a record of a node is being read."""
        return self.alpha.is_reading(node) or self.beta.is_reading(node)

    async def write_loss(self, node: str) -> bool:
        """Write that nothing is sure of what a node has; whether the API knows that now."""
        return not self.is_reading(node) and await self.beta.write_loss(node)

    def give_up(self, node: str) -> None:
        """Note that a node has gone, maybe before its record was read."""
        self.alpha.give_up(node)
        self.beta.give_up(node)
