"""Edges: sessions joined with Nodes, whatever is missing or malformed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from modules.common.kube import Unreachable
from modules.dashboard.history import History
from modules.dashboard.live.edges import EdgeBoard
from modules.dashboard.live.pace import Pace
from modules.dashboard.live.viewers import Viewers
from modules.dashboard.sources.edges import Edge, Edges, EdgeSessions, reduced
from modules.dashboard.sources.edges import join as join_reduced
from modules.dashboard.sources.pods import pods_of
from tests.support.waiting import DEADLINE


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


def join(
    sessions: dict[str, dict[str, Any]] | None, nodes: list[dict[str, Any]]
) -> dict[str, Edge]:
    return join_reduced(EdgeSessions(sessions or {}, sessions is not None, []), reduced(nodes))


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
    board = EdgeBoard(source, history, viewers)
    before = join({"a": session("a"), "b": session("b")}, [node("a"), node("b"), node("c")])
    board.compare(before)
    assert not history.changes  # they are what there was at the start
    with viewers.open(["edges"], trusted=True) as viewer:
        assert board.snapshot()["all"] == list(before.values())
        board.compare(dict(before))
        assert await viewer.take(0) == b""
        board.compare(join({"a": session("a", queue_messages=4)}, [node("a"), node("b")]))
        piece = (await viewer.take(0)).decode()
    assert '"removed":["c"]' in piece
    assert piece.count('"name"') == 2
    seen = [(each.name, each.old, each.new) for each in history.changes]
    assert seen == [("b", "ready", "disconnected"), ("c", "disconnected", "removed")]
    (troubled,) = board.summary()["troubled"]
    assert troubled["name"] == "b"
    assert troubled["since"] == history.changes[0].at  # nobody else knows since when


async def test_pages_are_told_what_is_incomplete_though_no_edge_has_changed(tmp_path: Path) -> None:
    source, viewers = Source(), Viewers()
    board = EdgeBoard(source, History(tmp_path / "history.json"), viewers)
    found = join({"a": session("a")}, [node("a")])
    board.compare(found)
    with viewers.open(["edges"], trusted=True) as viewer:
        for fault in ("nobody is there", ""):
            source.fault = fault
            board.compare(found)
            piece = (await viewer.take(0)).decode()
            assert f'{{"changed":[],"removed":[],"fault":"{fault}"}}' in piece
            board.compare(found)
            assert await viewer.take(0) == b""


def test_a_node_of_odd_types_is_shown_and_stops_no_other() -> None:
    odd: list[Any] = [
        {"metadata": {"name": "a"}, "status": {"nodeInfo": "x", "conditions": {"type": "Ready"}}},
        {"metadata": {"name": "b", "labels": 1}, "status": "x"},
        {"metadata": "c"},
        "d",
    ]
    sessions = {name: session(name) for name in ("a", "b", "well")}
    edges = join(sessions, [*odd, node("well")])
    assert {name: (edge.state, edge.version) for name, edge in edges.items()} == {
        "a": ("not ready", ""),
        "b": ("not ready", ""),
        "well": ("ready", edges["well"].version),
    }


class Pods:
    """A Kubernetes API with pods."""

    def __init__(self, *pods: Any) -> None:
        self.pods = pods

    async def list(self, *_: Any, **__: str) -> list[Any]:
        return [*self.pods]


async def test_a_pod_of_odd_types_is_shown_and_stops_no_other() -> None:
    containers: list[Any] = [
        {"ready": True, "restartCount": 2, "state": {"waiting": "x"}},
        {"restartCount": "x", "state": 7},
        "x",
    ]
    pods = Pods(
        {"metadata": "x", "spec": "x", "status": "x"},
        {"metadata": {"name": "p"}, "status": {"containerStatuses": containers}},
        {"metadata": {"name": "q"}, "status": {"containerStatuses": 7, "reason": "Evicted"}},
    )
    found = await pods_of(pods, "e")  # type: ignore[arg-type]
    assert [(each["name"], each["ready"], each["restarts"], each["why"]) for each in found] == [
        ("", "0/0", 0, ""),
        ("p", "1/0", 2, ""),
        ("q", "0/0", 0, "Evicted"),
    ]


class Away:
    """A Kubernetes API that does not answer."""

    async def list(self, *_: object, **__: object) -> list[Any]:
        raise Unreachable("nobody is there", request="list nodes")


async def test_what_cannot_be_reached_is_said(tmp_path: Path) -> None:
    edges = Edges(tmp_path, Away())  # type: ignore[arg-type]
    assert await edges.read() == {}
    assert "cloudhub does not answer" in edges.fault
    assert "nobody is there" in edges.fault


class Served:
    """A Kubernetes API with Nodes, until it does not answer any more."""

    def __init__(self, *nodes: dict[str, Any]) -> None:
        self.nodes = nodes
        self.away = False

    async def list(self, _: Any) -> list[Any]:
        if self.away:
            raise Unreachable("nobody is there", request="list nodes")
        return [*self.nodes]


@asynccontextmanager
async def hub(run_dir: Path, **answers: Any) -> AsyncIterator[None]:
    """Serve what CloudHub's first process answers, by path."""
    app = web.Application()

    async def answer(request: web.Request) -> web.Response:
        return web.json_response(answers[request.path[1:]])

    app.add_routes([web.get(f"/{path}", answer) for path in answers])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.UnixSite(runner, str(run_dir / "cloudhub.sock")).start()
    try:
        yield
    finally:
        await runner.cleanup()


async def test_edges_of_all_replicas(tmp_path: Path) -> None:
    others = [
        {"replica": "them", "nodes": [session("theirs", replica="them")]},
        {"replica": "mute", "error": "no answer", "nodes": [{"node": "held", "replica": "mute"}]},
    ]
    nodes = [node("mine"), node("theirs"), node("held"), node("left", "Unknown")]
    edges = Edges(tmp_path, Served(*nodes), replicas=True)  # type: ignore[arg-type]
    async with hub(tmp_path, nodes=[session("mine", replica="us")], replicas=others):
        found = await edges.read()
    assert {name: (edge.state, edge.replica) for name, edge in found.items()} == {
        "mine": ("ready", "us"),
        "theirs": ("ready", "them"),
        "held": ("ready", "mute"),  # so its Node says; the replica that holds it does not
        "left": ("disconnected", ""),
    }
    assert found["theirs"].address
    assert not found["held"].address
    assert edges.fault == "replica mute: no answer"


async def test_replicas_that_cannot_be_asked_take_nothing_from_the_own_edges(
    tmp_path: Path,
) -> None:
    edges = Edges(tmp_path, Served(node("mine")), replicas=True)  # type: ignore[arg-type]
    async with hub(tmp_path, nodes=[session("mine", replica="us")]):
        found = await edges.read()
    assert (found["mine"].state, found["mine"].replica) == ("ready", "us")
    assert edges.fault.startswith("the other replicas: ")


async def test_a_single_cloudcore_asks_for_no_other(tmp_path: Path) -> None:
    edges = Edges(tmp_path, Served(node("mine")))  # type: ignore[arg-type]
    async with hub(tmp_path, nodes=[session("mine")]):
        found = await edges.read()
    assert (found["mine"].state, found["mine"].replica, edges.fault) == ("ready", "", "")


async def test_nodes_that_cannot_be_read_any_more_have_not_gone(tmp_path: Path) -> None:
    cluster = Served(node("mine"), node("left"))
    edges = Edges(tmp_path, cluster)  # type: ignore[arg-type]
    async with hub(tmp_path, nodes=[session("mine")]):
        found = await edges.read()
        cluster.away = True
        assert await edges.read() == found
    assert "nobody is there" in edges.fault


def test_clocks_that_differ_by_milliseconds_change_no_edge() -> None:
    first = join({"e": session("e", since=100.001)}, [node("e")])
    assert join({"e": session("e", since=100.003)}, [node("e")]) == first


async def test_a_poll_is_due_when_somebody_begins_to_look_and_not_with_each_page() -> None:
    viewers = Viewers()
    pace = Pace(viewers, busy=0.05, idle=3600)
    pause = asyncio.create_task(pace.pause())
    done, _ = await asyncio.wait([pause], timeout=0.1)
    assert not done  # nobody looks
    with viewers.open(["edges"], trusted=True):
        await asyncio.wait_for(pause, DEADLINE)
        began = time.monotonic()
        pause = asyncio.create_task(pace.pause())
        await asyncio.sleep(0)
        with viewers.open(["edges"], trusted=True):
            await pause
        assert time.monotonic() - began >= 0.05
