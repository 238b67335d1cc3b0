"""Several cloudcores serve one fleet: takeovers, deaths, stops and cuts."""

from __future__ import annotations

import asyncio
import signal

import pytest

from modules.common.kube import PODS
from tests.e2e.replica import LEASE
from tests.e2e.replicas import Fleet, three_replicas

pytestmark = pytest.mark.timeout(300)


async def test_edges_move_between_replicas_and_have_what_the_api_says() -> None:
    async with three_replicas() as fleet:
        a, b, c = fleet.replicas
        await fleet.add("fleet-1", a)
        await fleet.add("fleet-2", b)
        await fleet.add("fleet-3", c, kubeedge="1.1")
        for number in (1, 2, 3):
            await fleet.pod(f"p{number}", f"fleet-{number}")
        for number in (1, 2, 3):
            await fleet.has(f"fleet-{number}", **{f"p{number}": ""})
        assert await fleet.holder("fleet-1") == ("r1", 1)
        await fleet.recorded("Pod", 2)  # of the edges of today

        # What it has acknowledged is not sent again by the replica that takes it over, but for a
        # pod, whose version is another one as its status has changed since.
        edge = fleet.edges["fleet-1"]
        pods = pods_received(fleet)
        await fleet.move("fleet-1", b)
        assert await fleet.holder("fleet-1") == ("r2", 2)
        await fleet.relabel("p1", "new")
        await fleet.has("fleet-1", p1="new")
        assert pods_received(fleet) <= pods + 2
        assert edge.connected

        # A pod that goes while the edge is away is deleted by whoever takes the edge over.
        await fleet.pod("extra", "fleet-1")
        await fleet.has("fleet-1", p1="new", extra="")
        fleet.dials("fleet-1", c)
        await fleet.api.delete(PODS, "extra", "default", grace_period=0)
        edge.link.drop()
        await fleet.held_by("fleet-1", c)
        await fleet.has("fleet-1", p1="new")

        # All processes of a replica are killed: its edges are in step at another.
        for name in ("fleet-1", "fleet-3"):
            fleet.dials(name, a)
        await fleet.kill(c)
        await fleet.relabel("p1", "after")
        await fleet.relabel("p3", "after")
        await fleet.has("fleet-1", p1="after")
        await fleet.has("fleet-3", p3="after")
        assert (await fleet.holder("fleet-3"))[0] == "r1"


async def test_a_replica_that_sleeps_longer_than_its_lease_lets_go_and_sends_nothing() -> None:
    async with three_replicas() as fleet:
        a, b, _ = fleet.replicas
        await fleet.add("fleet-1", a)
        await fleet.add("fleet-2", a)
        await fleet.pod("p1", "fleet-1")
        await fleet.pod("p2", "fleet-2")
        await fleet.has("fleet-1", p1="")
        await fleet.has("fleet-2", p2="")
        a.signal(signal.SIGSTOP)
        await fleet.move("fleet-1", b)
        await fleet.relabel("p1", "new")
        await fleet.relabel("p2", "new")
        await fleet.has("fleet-1", p1="new")
        await asyncio.sleep(LEASE)  # it is the time that matters here
        received = fleet.edges["fleet-1"].received_total
        fleet.dials("fleet-2", b)
        a.signal(signal.SIGCONT)
        await fleet.held_by("fleet-2", b)  # it was told to go
        await fleet.has("fleet-2", p2="new")
        assert "was stopped for" in a.cloudcore.log_tail(400)
        await fleet.relabel("p1", "newest")
        await fleet.has("fleet-1", p1="newest")
        await a.cloudcore.wait_ready(30)
        assert await a.nodes_held() == 0
        assert received < fleet.edges["fleet-1"].received_total


async def test_a_replica_without_the_api_takes_no_node_over_and_keeps_its_own() -> None:
    async with three_replicas() as fleet:
        a, b, _ = fleet.replicas
        await fleet.add("fleet-1", a)
        await fleet.add("fleet-2", b)
        await fleet.pod("p1", "fleet-1")
        await fleet.has("fleet-1", p1="")
        a.network.cut()
        fleet.dials("fleet-2", a)
        fleet.edges["fleet-2"].link.drop()
        await asyncio.sleep(2 * LEASE)
        assert fleet.edges["fleet-1"].connected
        assert await fleet.holder("fleet-2") == ("r2", 1)
        await fleet.move("fleet-1", b)
        await fleet.relabel("p1", "new")
        await fleet.has("fleet-1", p1="new")
        a.network.mend()
        await fleet.held_by("fleet-2", a)
        await fleet.relabel("p1", "newest")
        await fleet.has("fleet-1", p1="newest")


def pods_received(fleet: Fleet) -> int:
    """Count the messages with pods that fleet-1 has been sent."""
    return sum(
        "/pod/" in message.resource and message.operation in ("insert", "update")
        for message in fleet.edges["fleet-1"].received
    )
