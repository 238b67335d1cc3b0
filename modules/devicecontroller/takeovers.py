"""Taking over the records of devices, of both API versions, as one of several replicas."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from modules.common.sync.takeovers import Takeovers
from modules.common.wire.generations import V1_23


@dataclass(frozen=True, eq=False)
class DeviceTakeovers:
    """The takeovers of v1alpha1 and v1beta1; which of them a node needs, its edge says."""

    alpha: Takeovers
    beta: Takeovers

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
