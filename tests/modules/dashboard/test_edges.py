"""Edges: sessions joined with Nodes, whatever is missing or malformed."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from modules.common.kube import Unreachable
from modules.common.sync.journal import Row
from modules.common.sync.record import Record
from modules.dashboard.history import History
from modules.dashboard.live.board import Board
from modules.dashboard.live.viewers import Viewers
from modules.dashboard.sources.edges import Edge, Edges, join
from modules.dashboard.sources.unacknowledged import Unacknowledged


def session(name: str, **fields: Any) -> dict[str, Any]:
    return {
        "node": name,
        "since": 100.0,
        "address": "10.0.0.1:5",
        "certificate": {"common_name": name, "expires": 999.0},
        "protocol": "json",
        "queue_messages": 3,
        "process": "cloudhub-2",
    } | fields


def node(name: str, ready: str = "True", **metadata: Any) -> dict[str, Any]:
    condition = {
        "type": "Ready",
        "status": ready,
        "reason": "R",
        "message": "the reason",
        "lastTransitionTime": "1970-01-01T00:03:20Z",
    }
    return {
        "metadata": {"name": name, "labels": {"node-role.kubernetes.io/edge": ""}} | metadata,
        "status": {
            "conditions": [condition],
            "nodeInfo": {"kubeletVersion": "v1-kubeedge-v1.23.1"},
        },
    }


def test_each_state_and_why() -> None:
    sessions = {name: session(name) for name in ("well", "odd", "bare")}
    edges = join(sessions, [node("well"), node("odd", "False"), node("away", "Unknown")])
    assert edges["well"] == Edge(
        name="well",
        state="ready",
        since=200.0,
        why="",
        connected=100.0,
        address="10.0.0.1:5",
        protocol="json",
        version="v1-kubeedge-v1.23.1",
        queue=3,
        certificate=999.0,
        process="cloudhub-2",
    )
    states = {name: (edge.state, edge.since, edge.why) for name, edge in edges.items()}
    assert states["odd"] == ("not ready", 200.0, "the reason")
    assert states["away"] == ("disconnected", 200.0, "the reason")
    assert states["bare"][:2] == ("no node", 100.0)
    just_left = join({}, [node("well")])["well"]
    assert (just_left.state, just_left.since, just_left.connected) == ("disconnected", None, None)
    assert "its connection has ended" in just_left.why


def test_nodes_of_the_cloud_are_no_edges() -> None:
    assert not join({}, [node("control", labels={})])
    assert set(join({"old": session("old")}, [node("old", labels={})])) == {"old"}


def test_without_cloudhub_nobody_knows() -> None:
    (edge,) = join(None, [node("e")]).values()
    assert edge.state == "unknown"
    assert "cloudhub does not answer" in edge.why


@pytest.mark.parametrize(
    "odd",
    [
        {"metadata": {"name": "e"}},
        {"metadata": {"name": "e"}, "status": {"conditions": [7, {"type": "Ready"}]}},
        {"metadata": {"name": "e"}, "status": {"nodeInfo": None, "conditions": None}},
        {},
    ],
)
def test_a_malformed_node_stops_no_other(odd: dict[str, Any]) -> None:
    edges = join({"e": session("e"), "well": session("well")}, [odd, node("well")])
    assert edges["well"].state == "ready"
    assert edges["e"].state in {"not ready", "no node"}


class Source(Edges):
    """Edges that a test sets."""

    def __init__(self) -> None:
        self.fault = ""
        self.edges: dict[str, Edge] = {}

    async def read(self) -> dict[str, Edge]:
        return self.edges


async def test_pages_get_what_has_changed_and_changes_of_state_are_recorded(tmp_path: Path) -> None:
    source, viewers = Source(), Viewers()
    history = History(tmp_path / "history.json")
    board = Board(None, source, None, history, viewers)  # type: ignore[arg-type]
    before = join({"a": session("a"), "b": session("b")}, [node("a"), node("b"), node("c")])
    board._compare(before)
    assert not history.changes  # they are what there was at the start
    with viewers.open(["edges"]) as viewer:
        assert board.snapshot("edges")["all"] == list(before.values())
        board._compare(dict(before))
        assert await viewer.take(0) == b""
        board._compare(join({"a": session("a", queue_messages=4)}, [node("a"), node("b")]))
        piece = (await viewer.take(0)).decode()
    assert '"removed":["c"]' in piece
    assert piece.count('"name"') == 2
    seen = [(each.name, each.old, each.new) for each in history.changes]
    assert seen == [("b", "ready", "disconnected"), ("c", "disconnected", "removed")]
    assert [each["name"] for each in board.last_changes()] == ["b", "c"]
    (troubled,) = board._edge_summary()["troubled"]
    assert troubled["name"] == "b"
    assert troubled["since"] == history.changes[0].at  # nobody else knows since when


class Away:
    """A Kubernetes API that does not answer."""

    async def list(self, *_: object, **__: object) -> list[Any]:
        raise Unreachable("nobody is there", request="list nodes")


async def test_what_cannot_be_reached_is_said(tmp_path: Path) -> None:
    edges = Edges(tmp_path, Away())  # type: ignore[arg-type]
    assert await edges.read() == {}
    assert "cloudhub does not answer" in edges.fault
    assert "nobody is there" in edges.fault


async def test_what_a_node_has_not_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "edgecontroller" / "told.jsonl"
    record = Record(path)
    unacknowledged = Unacknowledged(tmp_path)
    item = ("pod", "default", "web")
    try:
        record.set_generation("e", "v1.23")
        record.tell("e", item, "uid")
        record.tell("e", ("configmap", "default", "c"), "uid")
        record.acknowledge("e", ("configmap", "default", "c"), "5")
        record.flush()
        assert await unacknowledged.of("e") == [
            {"controller": "edgecontroller", "type": "pod", "namespace": "default", "name": "web"}
        ]
        assert await unacknowledged.of("other") == []
        record.acknowledge("e", item, "6")
        record.flush()
        assert await unacknowledged.of("e") == []
        with path.open("ab") as file:
            file.write(b'["e","pod","default","half')  # as it is being written
        assert await unacknowledged.of("e") == []
        assert path.exists()  # nothing is set aside: the file is another process's
    finally:
        record.close()
    assert record.row("e", item) == Row("uid", "6")


async def test_a_poll_begins_when_somebody_looks() -> None:
    viewers = Viewers()
    opened = asyncio.Event()
    viewers.on_change(opened.set)
    with viewers.open(["edges"]):
        assert opened.is_set()
