"""Three replicas, the edges of both generations, and everything that can happen to them."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Final

from modules.common.kube import DEVICEMODELS
from modules.hollow import manifests
from modules.hollow.demo.harness import Cloudcore
from tests.support.forwarder import Way

from .fleet import FLEET
from .replica import LEASE, Replica
from .replicas import Fleet, three_replicas
from .world import OPTIONS, World, send_signal

#: Seconds for everything that is on its way to have happened.
_OVER: Final = 120.0


class ReplicatedWorld(World):
    """What may be done to replicas and edges; what takes time goes on while other things happen."""

    def __init__(self, fleet: Fleet) -> None:
        assert fleet.cluster, "a cluster that others use is not to suffer"
        super().__init__(fleet.cluster, fleet.api, fleet.edges)
        self._fleet = fleet
        self._going_on: list[asyncio.Task[None]] = []
        self._suffering: set[Replica] = set()
        """replicas that are dead or frozen"""

    @property
    def cloudcores(self) -> list[Cloudcore]:
        return [self.cloudcore, *(replica.cloudcore for replica in self._fleet.replicas)]

    async def move(self, edge: str, number: int) -> None:
        """Have an edge dial a replica from now on."""
        self._fleet.dials(edge, self._fleet.replicas[number])
        self.edges[edge].link.drop()

    async def kill_module(self, number: int, module: str) -> None:
        replica = self._fleet.replicas[number]
        if replica not in self._suffering and (
            pid := (await replica.cloudcore.module(module))["pid"]
        ):
            send_signal(pid, signal.SIGKILL)

    async def kill_api(self) -> None:
        await self.kill("apiserver")

    async def kill_replica(self, number: int) -> None:
        """End all processes of a replica at once, and start it again, as its Deployment would."""
        self._let(number, self._kill)

    async def stop_replica(self, number: int) -> None:
        """Stop a replica in order, and start it again."""
        self._let(number, self._stop)

    async def freeze(self, number: int, long: bool) -> None:
        """Stop all processes of a replica for shorter or longer than its Lease, then go on."""
        self._let(number, self._freeze_long if long else self._freeze)

    async def cut(self, number: int, ways: tuple[Way, ...], seconds: float) -> None:
        """Cut a replica off the API for a while."""
        network = self._fleet.replicas[number].network
        network.cut(*ways)
        self._begin(self._later(seconds, network.mend))

    async def cut_edge(self, edge: str, ways: tuple[Way, ...], seconds: float) -> None:
        """Cut an edge off its replica for a while."""
        way = self._fleet.ways[edge]
        way.cut(*ways)
        self._begin(self._later(seconds, way.mend))

    async def settled(self) -> None:
        """Let everything that is going on come to its end, and see that all edges are in sync."""
        going_on, self._going_on = self._going_on, []
        async with asyncio.timeout(_OVER):
            await asyncio.gather(*going_on)
        await super().settled()

    def _let(self, number: int, suffer: Any) -> None:
        replica = self._fleet.replicas[number]
        if replica not in self._suffering:
            self._suffering.add(replica)
            self._begin(self._through(replica, suffer))

    async def _through(self, replica: Replica, suffer: Any) -> None:
        try:
            await suffer(replica)
        finally:
            self._suffering.discard(replica)

    async def _kill(self, replica: Replica) -> None:
        await self._fleet.kill(replica)
        await self._fleet.start(replica)

    async def _stop(self, replica: Replica) -> None:
        await self._fleet.stop(replica)
        await self._fleet.start(replica)

    async def _freeze(self, replica: Replica, seconds: float = LEASE / 3) -> None:
        replica.signal(signal.SIGSTOP)
        await asyncio.sleep(seconds)
        replica.signal(signal.SIGCONT)

    async def _freeze_long(self, replica: Replica) -> None:
        await self._freeze(replica, LEASE * 4 / 3)

    async def _later(self, seconds: float, what: Any) -> None:
        await asyncio.sleep(seconds)
        what()

    def _begin(self, what: Coroutine[Any, Any, None]) -> None:
        self._going_on.append(asyncio.create_task(what))


@asynccontextmanager
async def living_replicas() -> AsyncIterator[ReplicatedWorld]:
    """Run three replicas, and join the edges to them."""
    async with three_replicas(*OPTIONS) as fleet:
        await fleet.api.create(DEVICEMODELS, manifests.device_model(), "default")
        for number, (name, version) in enumerate(FLEET.items()):
            await fleet.add(name, fleet.replicas[number % 3], kubeedge=version)
        yield ReplicatedWorld(fleet)
