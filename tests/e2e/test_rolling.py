"""All replicas are replaced, one after the other, while pods come, run and go."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from modules.common.kube import PODS
from modules.hollow.demo import observe
from tests.e2e.replicas import Fleet, three_replicas
from tests.support.waiting import DEADLINE

#: Pods that each edge keeps.
KEPT = 2

EDGES = {
    "fleet-1": "1.23",
    "fleet-2": "1.1",
    "fleet-3": "1.20",
    "fleet-4": "1.1",
    "fleet-5": "1.23",
}


@pytest.mark.timeout(300)
async def test_pods_and_statuses_flow_while_all_replicas_are_replaced() -> None:
    async with three_replicas() as fleet:
        for number, (name, kubeedge) in enumerate(EDGES.items()):
            await fleet.add(name, fleet.replicas[number % 3], kubeedge=kubeedge)
        async with load(fleet) as flows:
            for replica in list(fleet.replicas):
                await fleet.replace(replica)
                await asyncio.gather(*(flow.goes_on() for flow in flows))
        names = [replica.name for replica in fleet.replicas]
        assert names == ["r1-next", "r2-next", "r3-next"]
        for flow in flows:
            await fleet.in_step(flow.node)
            assert (await fleet.holder(flow.node))[0] in names
        assert_each_dial_succeeded(fleet)


class Flow:
    """The pods of one edge: another one comes when the last one runs, and the oldest goes."""

    def __init__(self, fleet: Fleet, node: str) -> None:
        self.node = node
        self.pods = 0
        self._names: list[str] = []
        self._fleet = fleet
        self._news = asyncio.Condition()

    async def run(self) -> None:
        while True:
            await self._next()
            async with self._news:
                self.pods += 1
                self._news.notify_all()

    async def _next(self) -> None:
        """Have one more pod run, its forerunner changed, and the oldest deleted."""
        fleet, name = self._fleet, f"{self.node}-{self.pods}"
        await fleet.pod(name, self.node)
        self._names.append(name)
        await observe.in_api(
            fleet.api, PODS, name, "default", lambda pod: pod["status"]["phase"] == "Running"
        )
        await fleet.relabel(name, "runs")
        if len(self._names) > KEPT:
            await fleet.api.delete(PODS, self._names.pop(0), "default", grace_period=0)

    async def goes_on(self) -> None:
        """Wait until two pods more run: the first one may have been on its way."""
        before = self.pods
        async with asyncio.timeout(30), self._news:
            await self._news.wait_for(lambda: self.pods >= before + 2)


@asynccontextmanager
async def load(fleet: Fleet) -> AsyncIterator[list[Flow]]:
    """Have pods come and go at all edges."""
    flows = [Flow(fleet, name) for name in fleet.edges]
    stop = asyncio.Event()

    async def until_stop(flow: Flow) -> None:
        running = asyncio.create_task(flow.run())
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait((running, stopping), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (running, stopping):
                task.cancel()
            await asyncio.wait((running, stopping))
        if not running.cancelled():
            running.result()

    async with asyncio.TaskGroup() as tasks:
        for flow in flows:
            tasks.create_task(until_stop(flow))
        yield flows
        stop.set()


def assert_each_dial_succeeded(fleet: Fleet) -> None:
    """Check that each edge that was let go is connected by its first dial."""
    lost: dict[str, float] = {}
    away = []
    for event in fleet.events:
        assert event.kind not in ("refused", "unreachable"), event
        if event.kind == "disconnected":
            lost[event.node] = event.at
        elif event.kind == "connected" and event.node in lost:
            away.append(event.at - lost.pop(event.node))
    assert not lost
    assert len(away) >= len(EDGES)
    print("seconds away:", [round(each, 2) for each in sorted(away)])
    assert max(away) < DEADLINE  # no dial was left without an answer either
