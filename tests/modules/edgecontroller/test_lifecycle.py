"""Nodes that no longer report are marked, and those that were deleted are sent away."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, cast

import pytest

from modules.common.kube import NODES, EventRecorder, KubeClient, WatchEvent
from modules.common.sync.record import Record
from modules.edgecontroller import node_lifecycle
from modules.edgecontroller.cloudhub_client import CloudHubClient
from modules.edgecontroller.downstream.node_updates import NodeUpdater
from modules.edgecontroller.downstream.nodes import NodeEventHandler
from modules.edgecontroller.downstream.state import State
from modules.edgecontroller.node_lifecycle import Lifecycle
from modules.edgecontroller.objects import keep_node
from supervisor.api import ModuleContext, Settings
from tests.support.aside import make_set_aside
from tests.support.waiting import DEADLINE, eventually

from .cloud import Cloud
from .objects import NODE, Json, node
from .test_dispatch import Channel
from .test_seen_by_operators import reasons

READY: Json = {
    "conditions": [
        {"type": "Ready", "status": "True", "reason": "EdgeReady", "lastHeartbeatTime": None},
        {"type": "MemoryPressure", "status": "False"},
        {"type": "NetworkUnavailable", "status": "False"},
    ]
}


async def conditions(api: KubeClient) -> dict[str, str]:
    found = await api.get(NODES, NODE)
    return {each["type"]: each["status"] for each in found["status"]["conditions"]}


async def report(api: KubeClient) -> None:
    await api.patch(NODES, NODE, {"status": READY}, subresource="status")


class Clock:
    """The monotonic clock, as the test sets it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


class World:
    """A lifecycle between an API server and a state that follows when it is told to."""

    def __init__(self, cloud: Cloud, clock: Clock) -> None:
        self.api, self.clock = cloud.api, clock
        self.state = State(Record(cloud.settings.data_dir / "told.jsonl"))
        self.lifecycle = Lifecycle(self.api, self.state, EventRecorder(self.api, "test"), 50.0)

    async def follow(self) -> None:
        self.state.nodes["", NODE] = keep_node(await self.api.get(NODES, NODE))

    async def look_after(self, seconds: float) -> None:
        self.clock.now += seconds
        await self.lifecycle.check()


@pytest.fixture
async def world(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Any:
    clock = Clock()
    monkeypatch.setattr(node_lifecycle, "time", clock)
    await cloud.api.create(NODES, node())
    await report(cloud.api)
    made = World(cloud, clock)
    await made.follow()
    await made.look_after(0)
    yield made
    made.state.record.close()


async def test_a_node_that_no_longer_reports_is_marked_once(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    await world.look_after(49)
    assert (await conditions(world.api))["Ready"] == "True"
    await world.look_after(2)
    found = await world.api.get(NODES, NODE)
    ready = next(each for each in found["status"]["conditions"] if each["type"] == "Ready")
    assert (ready["status"], ready["reason"]) == ("Unknown", "NodeStatusUnknown")
    assert await conditions(world.api) == {
        "Ready": "Unknown",
        "MemoryPressure": "Unknown",
        "NetworkUnavailable": "False",
    }
    await world.follow()
    for _ in range(3):
        await world.look_after(60)
    assert (await world.api.get(NODES, NODE))["metadata"] == found["metadata"]
    assert caplog.text.count(f"node {NODE}: no status for 50 s") == 1


async def test_one_that_reports_is_left(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    for _ in range(5):
        world.lifecycle.reported(NODE)
        await world.look_after(49)
    assert (await conditions(world.api))["Ready"] == "True"
    await world.look_after(51)
    world.lifecycle.reported(NODE)
    assert f"node {NODE}: reports again" in caplog.text


async def test_a_deleted_node_is_no_longer_marked(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """One of the same name that is created later begins anew: it does not report "again"."""
    caplog.set_level("INFO")
    await world.look_after(51)
    assert (await conditions(world.api))["Ready"] == "Unknown"
    del world.state.nodes["", NODE]
    await world.look_after(1)
    world.lifecycle.reported(NODE)
    assert "reports again" not in caplog.text


async def test_a_report_that_comes_meanwhile_is_not_overwritten(world: World) -> None:
    """What the state has is older than what the API has by then."""
    await world.api.patch(NODES, NODE, {"metadata": {"labels": {"a": "b"}}})
    await world.look_after(51)
    assert (await conditions(world.api))["Ready"] == "True"
    await world.follow()
    await world.look_after(0)
    assert (await conditions(world.api))["Ready"] == "Unknown"


async def test_a_node_that_has_never_reported_is_left(world: World) -> None:
    await world.api.delete(NODES, NODE)
    await world.api.create(NODES, node())
    await world.follow()
    await world.look_after(60)
    await world.look_after(60)
    assert "conditions" not in ((await world.api.get(NODES, NODE)).get("status") or {})


def test_many_are_one_line() -> None:
    assert node_lifecycle._named(["b", "a"]) == "nodes a, b"
    assert node_lifecycle._named(map(str, range(7))) == "nodes 0, 1, 2, 3, 4 and 2 more"


@pytest.fixture
def embedded(cloud: Cloud) -> Cloud:
    """A cloud without a configured cluster: its API server counts as the embedded one."""
    kubeconfig = cloud.settings.kubernetes.kubeconfig
    cloud.settings = Settings(cloud.settings.data_dir, cloud.settings.run_dir)
    cloud.settings.data_dir.mkdir()
    (cloud.settings.data_dir / "kubeconfig").symlink_to(kubeconfig)
    return cloud


async def test_it_goes_back_to_ready_when_the_edge_reports(embedded: Cloud) -> None:
    cloud = embedded
    await cloud.api.create(NODES, node())
    await report(cloud.api)
    async with cloud.controller(node_monitor_grace_period=0.2):
        await eventually(lambda: conditions(cloud.api), lambda c: c["Ready"] == "Unknown")
        await eventually(lambda: reasons(cloud), lambda found: "NodeNotReady" in found)
    async with cloud.controller():
        await cloud.from_edge("update", f"default/nodestatus/{NODE}", {"Status": READY})
        await eventually(lambda: conditions(cloud.api), lambda c: c["Ready"] == "True")


@pytest.mark.parametrize("grace", [0.0, 0.01])
async def test_a_cluster_looks_after_its_nodes_itself(cloud: Cloud, grace: float) -> None:
    await cloud.api.create(NODES, node())
    await report(cloud.api)
    async with cloud.controller(node_monitor_grace_period=grace):
        await cloud.connect()
        await cloud.drain()
        await cloud.drain()
    assert (await conditions(cloud.api))["Ready"] == "True"


# Deletion


async def test_the_session_of_a_deleted_node_is_to_end(running: Cloud) -> None:
    await running.api.delete(NODES, NODE)
    await running.until("deleted", f"node/{NODE}")


async def test_so_it_is_of_one_that_is_no_edge_node_any_more(running: Cloud) -> None:
    label = {"node-role.kubernetes.io/edge": None}
    await running.api.patch(NODES, NODE, {"metadata": {"labels": label}})
    await running.until("deleted", f"node/{NODE}")


async def test_a_node_that_was_deleted_while_nobody_looked(cloud: Cloud) -> None:
    await cloud.api.create(NODES, node())
    async with cloud.controller():
        await cloud.connect()
        await cloud.drain()
    await cloud.api.delete(NODES, NODE)
    async with cloud.controller():
        await cloud.until("deleted", f"node/{NODE}")


async def test_a_node_that_is_back_at_once_keeps_its_session(tmp_path: Path) -> None:
    channel, aside = Channel(), make_set_aside()
    state = State(Record(tmp_path / "told.jsonl"))
    sender = CloudHubClient(channel)
    context = cast("ModuleContext", channel)
    concern = NodeEventHandler(state, NodeUpdater(state, sender, aside), sender, context, aside)
    for name in (NODE, "edge-node-2"):
        concern.handle(WatchEvent("DELETED", node(name), node(name)))
    state.nodes["", NODE] = node()
    running = asyncio.create_task(concern.run())
    async with asyncio.timeout(DEADLINE):
        while not channel.sent:
            await asyncio.sleep(0)
    running.cancel()
    await asyncio.wait([running])
    assert [message.resource for message in channel.sent] == ["node/edge-node-2"]
    state.record.close()


def test_without_a_grace_period_nodes_that_have_reported_are_not_remembered(
    tmp_path: Path,
) -> None:
    """With a cluster nobody looks at them, and they would be there for ever."""
    record = Record(tmp_path / "told.jsonl")
    nothing = cast("Any", None)
    lifecycle = Lifecycle(nothing, State(record), nothing, 0.0)
    for n in range(3):
        lifecycle.reported(f"node-{n}")
    assert not lifecycle._heard
    record.close()
