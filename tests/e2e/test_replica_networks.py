"""Several cloudcores, and networks that are cut: to the edges, and to the API, in each way."""

from __future__ import annotations

import os
import signal
from contextlib import suppress

import msgspec
import pytest

from ipc import Message
from modules.common.kube import NODES
from modules.hollow.demo import observe
from modules.hollow.edge import HollowEdge
from tests.e2e.replica import Replica
from tests.e2e.replicas import Fleet, Json, label_of, three_replicas
from tests.support.forwarder import BOTH, Way
from tests.support.waiting import eventually, until

pytestmark = pytest.mark.timeout(300)

#: What pods are labelled, one after the other.
LABELS = ("", "new", "newest")


#: Edges, their versions, and how the network between each and its replica is cut.
CUTS: dict[str, tuple[str, tuple[Way, ...]]] = {
    "fleet-1": ("1.23", ("to",)),
    "fleet-2": ("1.23", ("from",)),
    "fleet-3": ("1.23", BOTH),
    "fleet-4": ("1.1", BOTH),
}


async def test_an_edge_that_is_cut_off_its_replica_is_whole_at_another() -> None:
    async with three_replicas() as fleet:
        a, b, _ = fleet.replicas
        for name, (kubeedge, _) in CUTS.items():
            await fleet.add(name, a, kubeedge=kubeedge)
            await fleet.pod(f"p-{name}", name)
        for name in CUTS:
            await fleet.has(name, **{f"p-{name}": ""})
        for name, (_, ways) in CUTS.items():
            fleet.ways[name].cut(*ways)
            fleet.dials(name, b)
            await fleet.relabel(f"p-{name}", "new")
        # It hears no keepalives of them; the one that hears nothing goes on sending some.
        assert await eventually(a.nodes_held, lambda held: held == 1) == 1
        for name, (_, ways) in CUTS.items():
            if "from" in ways:  # otherwise the edge is told that it has been given up
                assert fleet.edges[name].connected
                fleet.edges[name].link.drop()
        for name in CUTS:
            await fleet.held_by(name, b)
            await fleet.has(name, **{f"p-{name}": "new"})
        for way in fleet.ways.values():
            way.mend()
        for name, edge in fleet.edges.items():
            await fleet.relabel(f"p-{name}", "newest")
            await fleet.has(name, **{f"p-{name}": "newest"})
            assert_in_order(edge)
        assert await a.nodes_held() == 0


async def test_a_replica_whose_network_to_the_api_is_cut_in_one_way_harms_nobody() -> None:
    async with three_replicas() as fleet:
        a, b, _ = fleet.replicas
        for name, replica in (("fleet-1", a), ("fleet-2", b)):
            await fleet.add(name, replica)
            await fleet.pod(f"p-{name}", name)
            await fleet.has(name, **{f"p-{name}": ""})
        for way, label in (("to", "new"), ("from", "newest")):
            a.network.cut(way)
            await fleet.relabel("p-fleet-1", label)
            await dial_in_vain(fleet, "fleet-2", a)
            if way == "to":  # otherwise it may hold the node by the API's word, and not know it
                assert (await fleet.holder("fleet-2"))[0] == "r2"
            await fleet.move("fleet-2", b)
            await fleet.relabel("p-fleet-2", label)
            await fleet.has("fleet-2", **{"p-fleet-2": label})
            assert fleet.edges["fleet-1"].connected
            a.network.mend()
            await fleet.has("fleet-1", **{"p-fleet-1": label})
        await fleet.move("fleet-2", a)
        for edge in fleet.edges.values():
            assert_in_order(edge)


async def dial_in_vain(fleet: Fleet, name: str, replica: Replica) -> None:
    """Have an edge dial a replica that cannot take it, and tells it so."""
    fleet.dials(name, replica)
    before = len(fleet.events)
    fleet.edges[name].link.drop()

    def told() -> bool:
        kinds = [event.kind for event in fleet.events[before:] if event.node == name]
        return "connected" in kinds and "disconnected" in kinds[kinds.index("connected") :]

    await until(told)


def assert_in_order(edge: HollowEdge) -> None:
    """Check that no older state of a pod has come after a newer one."""
    came = [
        LABELS.index(label_of(content_of(message)))
        for message in edge.received
        if "/pod/" in message.resource and message.operation in ("insert", "update")
    ]
    assert came == sorted(came)
    assert came


def content_of(message: Message) -> Json:
    content = message.content
    return content if isinstance(content, dict) else msgspec.json.decode(content)


async def test_what_waits_in_a_replica_that_was_cut_off_the_api_is_not_written_over_newer() -> None:
    """Its CloudHub sleeps, so that nobody tells its EdgeController that the edge has gone."""
    async with three_replicas() as fleet:
        a, b, _ = fleet.replicas
        edge = await fleet.add("fleet-1", a, kubeedge="1.1")
        note(edge, "old")
        await noted(fleet, "fleet-1", "old")
        a.network.cut()
        for _ in range(10):
            note(edge, "late")
        # The others are two statuses of the node: one that is being written, and the last one.
        await eventually(lambda: pending(a), lambda count: count >= 10)
        cloudhub = (await a.cloudcore.module("cloudhub"))["pid"]
        os.kill(cloudhub, signal.SIGSTOP)
        await fleet.move("fleet-1", b)
        note(edge, "new")
        await noted(fleet, "fleet-1", "new")
        a.network.mend()
        await eventually(lambda: pending(a), lambda count: count == 0)
        await noted(fleet, "fleet-1", "new")
        with suppress(ProcessLookupError):  # its supervisor may have ended it, since it hangs
            os.kill(cloudhub, signal.SIGCONT)
        await eventually(a.nodes_held, lambda held: held == 0)


def note(edge: HollowEdge, text: str) -> None:
    """Have an edge report an annotation of its Node."""
    content = {"metadata": {"name": edge.node, "annotations": {"note": text}}}
    edge.link.send(Message.build("edged", "meta", "update", f"default/node/{edge.node}", content))


async def noted(fleet: Fleet, node: str, text: str) -> None:
    await observe.in_api(
        fleet.api,
        NODES,
        node,
        None,
        lambda found: (found["metadata"].get("annotations") or {}).get("note") == text,
    )


async def pending(replica: Replica) -> int:
    """Return how many messages of edges its EdgeController has not handled."""
    count: int = (await replica.cloudcore.module("edgecontroller"))["details"]["pending"]
    return count
