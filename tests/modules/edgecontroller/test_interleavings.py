"""Changes that come in the middle of something else, at its worst moment."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from ipc import Message, ModuleUnavailable
from modules.common.kube import NODES, PODS, Resource
from modules.common.wire.generations import V1_1, V1_23
from modules.edgecontroller.downstream import nodes
from tests.support.waiting import DEADLINE

from .fakes import Bench, running
from .objects import NODE, Json, node, pod, using

POD = f"node/{NODE}/default/pod/p"
CONFIGMAP = f"node/{NODE}/default/configmap/cm"
OWN_NODE = f"node/{NODE}/null/node/{NODE}"


def labelled(version: str) -> Json:
    metadata = {"name": NODE, "uid": "u-node", "resourceVersion": version}
    return node(NODE) | {"metadata": metadata | {"labels": {"version": version}}}


class Reading:
    """A get of the Node during which it changes once: the answer has its state of before."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._present = labelled("2")

    async def get(self, resource: Resource, *_: Any) -> Json:
        assert resource is NODES
        found, self._present = self._present, labelled("3")
        self._bench.feed(NODES, self._present, "MODIFIED")
        return found


async def test_a_node_that_changes_while_it_is_read_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path, generation=V1_23) as bench:
        monkeypatch.setattr(bench.api, "get", Reading(bench).get)
        state = bench.controller._state
        state.reads_own_node.add(NODE)
        state.node_held_until.clear()
        bench.feed(NODES, labelled("2"), "MODIFIED")
        await bench.settle()
        assert bench.told()[OWN_NODE].resource_version == "3"


async def test_a_node_that_changes_before_it_is_sent_is_read_again(tmp_path: Path) -> None:
    async with running(tmp_path, generation=V1_23) as bench:
        state = bench.controller._state
        state.reads_own_node.add(NODE)
        state.node_held_until.clear()
        state.whole_nodes[NODE] = labelled("2")  # read, and waiting for room in the window
        bench.api.answer = labelled("3")
        bench.feed(NODES, labelled("3"), "MODIFIED")
        await bench.settle()
        assert bench.told()[OWN_NODE].resource_version == "3"


@pytest.mark.parametrize("generation", [V1_1, V1_23])
async def test_a_pod_that_is_bound_to_another_node_leaves_the_first(
    tmp_path: Path, generation: str
) -> None:
    """In an API that was restored from a copy: bound after the copy was made, and now again."""
    async with running(tmp_path, generation=generation) as bench:
        bench.feed(PODS, pod("p", uid="u", resourceVersion="2", spec=using("cm")))
        await bench.settle()
        assert bench.told()[POD].operation == "insert"
        moved = pod("p", "elsewhere", uid="u", resourceVersion="3", spec=using("cm"))
        bench.feed(PODS, moved, "MODIFIED")
        await bench.settle()
        assert bench.told()[POD].operation == "delete"
        bench.feed(PODS, moved, "DELETED")
        await bench.settle()
        locations = bench.controller._state.locations
        assert (locations.pods_on(NODE), locations.items_for(NODE)) == ([], [])


async def test_devicecontroller_is_told_of_a_lost_database_when_it_runs_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nodes, "_TELL_AGAIN", 0.0)
    told = asyncio.Event()
    stopped = 3

    async def send_to_group(group: str, message: Message) -> None:
        nonlocal stopped
        if group == "devicecontroller" and stopped:
            stopped -= 1
            raise ModuleUnavailable("devicecontroller is stopped")
        assert (message.operation, message.resource) == ("lost", f"node/{NODE}")
        told.set()

    async with running(tmp_path, generation=V1_23) as bench:
        monkeypatch.setattr(bench.context, "send_to_group", send_to_group)
        registrations = bench.controller._nodes.registrations
        for _ in range(3):
            registrations.registered(NODE, "default", exists=True)
        async with asyncio.timeout(DEADLINE):
            await told.wait()
        assert (stopped, bench.controller._nodes._lost) == (0, {})


def _keeps(part: object, name: str) -> list[str]:
    """Return the attributes with a dict or a set that has a name among its keys."""
    kept = ((key, value) for key, value in vars(part).items() if isinstance(value, dict | set))
    return [key for key, value in kept if name in value]


async def test_of_a_node_that_is_gone_nothing_is_kept_but_its_record(tmp_path: Path) -> None:
    """Where edges come and go, each with a new name, they would become ever more."""
    async with running(tmp_path, generation=V1_23) as bench:
        found = node("gone")
        bench.feed(NODES, found)
        handler = bench.controller._nodes
        handler.connected("gone", V1_23)
        handler.heard_from("gone")
        for _ in range(2):
            handler.registrations.registered("gone", "null", exists=True)
        await bench.settle()
        handler.disconnected("gone")
        parts = (handler, handler.registrations, handler.connectivity, handler._state)
        handler.forget_gone()
        assert _keeps(handler.connectivity, "gone") == ["_connections", "_heard"]
        bench.feed(NODES, found, "DELETED")
        handler.forget_gone()
        assert [_keeps(part, "gone") for part in parts] == [[], [], [], []]
        assert handler._state.connections == {NODE: True}


@pytest.mark.parametrize("is_replica", [False, True])
async def test_lists_are_for_the_nodes_that_may_be_of_v1_1_and_here(
    tmp_path: Path, *, is_replica: bool
) -> None:
    async with running(tmp_path, generation=V1_23) as bench:
        state, handler = bench.controller._state, bench.controller._nodes
        state.is_replica = is_replica
        names = ("new", "old", "unknown", "away")
        for name in names:
            bench.feed(NODES, node(name))
        for name, generation in (("new", V1_23), ("old", V1_1), ("away", V1_1)):
            handler.connected(name, generation)
        handler.disconnected("away")
        assert set(state.nodes_with_lists()) == ({"old"} if is_replica else {"old", "unknown"})
        handler.connected("old", V1_23)
        handler.connected("away", V1_1)
        assert set(state.nodes_with_lists()) - {"unknown"} == {"away"}
        for name in names:
            bench.feed(NODES, node(name), "DELETED")
        assert list(state.nodes_with_lists()) == []
        assert state._with_lists == {}
