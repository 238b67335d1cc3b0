"""Edge to cloud: routing, recorded traffic, and back-pressure."""

from __future__ import annotations

import asyncio
import base64
import json
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from ipc import ChannelState, Message
from modules.cloudhub.metrics import HubStatistics
from modules.cloudhub.routing import upstream
from tests.modules.cloudhub.cloud import DEADLINE, Cloud, Join
from tests.modules.cloudhub.edge import TEXT, Edge, frame
from tests.support.waiting import until

DATA = Path(__file__).parents[2] / "data"


def message(source: str, resource: str, operation: str = "update", content: str = "{}") -> Message:
    return Message.build(source, "resource", operation, resource, content)


async def test_twin_goes_to_the_devicecontroller_and_the_rest_to_the_edgecontroller(
    cloud: Cloud, join: Join
) -> None:
    edge = await join(cloud)
    await cloud.expect("edge-1", "connected")
    await edge.send(message("twin", "device/d/twin/edge_updated"))
    await edge.send(message("edged", "default/nodestatus/edge-1"))
    await edge.send(message("edgecontroller", "default/pod/p", "response", "OK"))
    twin = await cloud.next(device=True)
    assert (twin.source, twin.resource) == ("twin", "node/edge-1/device/d/twin/edge_updated")
    status, acknowledged = await cloud.next(), await cloud.next()
    # What it has stored of a device, or could not store, whatever it names as the source.
    for source, resource, operation in (
        ("meta", "default/devicemodel/m", "response"),
        ("devicecontroller", "default/device/d", "response"),
        ("metamanager", "default/device/d", "error"),
    ):
        await edge.send(message(source, resource, operation, "OK"))
        stored = await cloud.next(device=True)
        assert (stored.operation, stored.resource) == (operation, f"node/edge-1/{resource}")
    assert status.resource == "node/edge-1/default/nodestatus/edge-1"
    assert (acknowledged.operation, acknowledged.content) == ("response", b"OK")
    assert cloud.hub.statistics.keepalives == 1


async def test_the_recorded_session_goes_through(cloud: Cloud, join: Join) -> None:
    lines = (DATA / "captures" / "v1.1-edge.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    recorded = [each for each in records if each["conn"] == 1 and each["dir"] == "edge->cloud"]
    edge = await join(cloud, silent=True)
    for each in recorded:
        if "frame" in each:
            edge.write(frame(base64.b64decode(each["frame"]["b64"]), each["frame"]["opcode"]))
    await cloud.expect("edge-1", "connected")
    sent = [each["message"] for each in recorded if "message" in each]
    for each in sent:
        route = each["route"]
        if route["operation"] == "keepalive":
            continue
        of_device = route["source"] == "twin" or "default/device" in route["resource"]
        got = await cloud.next(device=of_device)
        assert got.resource == f"node/edge-1/{route['resource']}"
        assert (got.source, got.group, got.operation) == (
            *(route["source"], route["group"], route["operation"]),
        )
        assert (got.id, got.timestamp) == (each["header"]["msg_id"], each["header"]["timestamp"])
        assert got.parent_id == each["header"].get("parent_msg_id", "")
        assert got.content.decode() == each["content"]
    assert cloud.hub.statistics.messages_up == len(sent)


def memory_of(value: Any) -> int:
    size = sys.getsizeof(value)
    if isinstance(value, dict):
        return size + sum(memory_of(key) + memory_of(each) for key, each in value.items())
    return size + (sum(map(memory_of, value)) if isinstance(value, list) else 0)


@pytest.mark.parametrize(
    "text",
    [
        *(
            '{"k":"' + "v" * 100_000 + '"}',
            "[" + "{}," * 9_999 + "{}]",
            "[" + "[]," * 9_999 + "[]]",
        ),
        *("[" + "1," * 9_999 + "1]", "[" + '{"a":1},' * 9_999 + "{}]"),
        (DATA / "frames/v1.23/02-pod-insert.json").read_text(),
    ],
    ids=["text", "objects", "lists", "numbers", "small objects", "pod"],
)
def test_json_content_counts_as_what_it_takes(text: str) -> None:
    content = msgspec.json.decode(text)
    assert 0.45 < size_of(content) / memory_of(content) < 2.2


@pytest.mark.parametrize(
    "content", [b"x" * 1000, "x" * 1000, "x\U0001f600" * 1000, "\u20ac" * 1000]
)
def test_text_and_bytes_count_as_what_they_take(content: str | bytes) -> None:
    assert size_of(content) == sys.getsizeof(content)
    assert size_of(None) < 100


@pytest.mark.parametrize("field", [*msgspec.structs.asdict(message("", ""))])
def test_every_text_of_a_message_counts(field: str) -> None:
    sent = message("edged", "default/pod/p")
    before = upstream.size_of(sent)
    if isinstance(getattr(sent, field), str) and field != "reply_to":
        setattr(sent, field, "x" * 10_000)
        assert upstream.size_of(sent) > before + 9_000


def size_of(content: Any) -> int:
    empty = Message("", "", 0, False, "", "", "", "")
    whole = Message("", "", 0, False, "", "", "", "", content)
    return upstream.size_of(whole) - upstream.size_of(empty) + len("null")


class Reader:
    """A session that records whether reading is paused."""

    node = "edge-1"
    in_flight = bytes_in_flight = 0
    is_read = True

    def pause_reading(self) -> None:
        self.is_read = False

    def resume_reading(self) -> None:
        self.is_read = True


async def test_a_large_message_in_json_pauses_its_session(cloud: Cloud) -> None:
    reader = Reader()
    small, large = (message("edged", "default/pod/p") for _ in range(2))
    small.content, large.content = {"k": "v"}, {"k": "v" * upstream.SESSION_BYTES}
    cloud.hub.upstream.receive(small, reader)
    assert reader.is_read
    cloud.hub.upstream.receive(large, reader)
    assert not reader.is_read
    await until(lambda: reader.is_read)  # when the controller's channel has both
    assert reader.bytes_in_flight == 0


class Gates:
    """A context whose groups take as many messages as the test says."""

    stopping = False

    def __init__(self) -> None:
        self._open = {name: asyncio.Semaphore(0) for name in ("edgecontroller", "devicecontroller")}
        self.registry = SimpleNamespace(members=lambda group: (group, "another"))

    def take(self, group: str, count: int = 1) -> None:
        for _ in range(count):
            self._open[group].release()

    async def send_to_group(self, group: str, _: Message) -> None:
        await self._open[group].acquire()

    async def send_resp(self, _: Message) -> None:
        raise AssertionError("no answer is sent")


@asynccontextmanager
async def gated() -> AsyncIterator[tuple[upstream.Upstream, Gates]]:
    gates = Gates()
    routes = upstream.Upstream(gates, HubStatistics())  # type: ignore[arg-type]
    running = asyncio.create_task(routes.run())
    yield routes, gates
    running.cancel()
    await asyncio.wait([running])


async def test_a_paused_session_is_read_again_when_all_that_it_sent_is_in_channels() -> None:
    reader = Reader()
    async with gated() as (routes, gates):
        for _ in range(upstream.SESSION_MESSAGES):
            assert reader.is_read
            routes.receive(message("edged", "default/pod/p"), reader)
        assert not reader.is_read
        gates.take("edgecontroller", upstream.SESSION_MESSAGES - 1)
        await until(lambda: reader.in_flight == 1)
        assert not reader.is_read
        gates.take("edgecontroller")
        await until(lambda: reader.is_read)


async def test_sessions_that_wait_for_others_are_read_again_when_half_of_all_has_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(upstream, "TOTAL_BYTES", 30_000)
    other, last = Reader(), Reader()
    async with gated() as (routes, gates):
        for _ in range(2):
            routes.receive(message("edged", "default/pod/p", content="x" * 9_000), other)
        routes.receive(message("twin", "device/d", content="x" * 12_000), last)
        assert (other.is_read, last.is_read) == (True, False)
        gates.take("devicecontroller")
        await until(lambda: not last.in_flight)
        assert not last.is_read  # more than half is still there
        gates.take("edgecontroller")
        await until(lambda: other.in_flight == 1)
        assert last.is_read


@pytest.mark.parametrize(
    "name", sorted(path.name[:-8] for path in (DATA / "frames/v1.1").glob("*.ws1.bin"))
)
async def test_every_recorded_frame_goes_through(cloud: Cloud, join: Join, name: str) -> None:
    edge = await join(cloud)
    await cloud.expect("edge-1", "connected")
    for number in (1, 2):
        edge.write(frame((DATA / f"frames/v1.1/{name}.ws{number}.bin").read_bytes()))
    said = json.loads((DATA / f"frames/v1.1/{name}.json").read_text())
    route = said["route"]
    cloud_modules = {"cloudhub", "edgecontroller", "devicecontroller"}
    from_cloud = route["source"] in cloud_modules and route["operation"] != "response"
    if from_cloud:
        await until(lambda: cloud.hub.statistics.unserved == 1)
    elif route["resource"] and route["operation"] != "keepalive":
        of_device = route["source"] == "twin" or "default/device" in route["resource"]
        got = await cloud.next(device=of_device)
        assert got.resource == f"node/edge-1/{said['route']['resource']}"
        assert got.id == said["header"]["msg_id"]
    assert "edge-1" in cloud.hub.sessions


def recorded(name: str) -> list[bytes]:
    """What a real edge of today wrote, message by message.

    v1.23-edge is edgecore 1.23.1 without its kubelet and with devices; v1.20-edged and v1.23-edged
    have one: pods come and go, edgecore restarts, and its database is removed.
    """
    lines = map(json.loads, (DATA / f"captures/{name}.jsonl").read_text().splitlines())
    sent = [each for each in lines if each["dir"] == "edge->cloud"]
    frames = [each["frame"] for each in sent if "frame" in each]
    written = [base64.b64decode(each["b64"]) for each in frames if each["opcode"] == TEXT]
    return written + [each["text"].encode() for each in sent if "text" in each]


@pytest.mark.parametrize(
    ("name", "count"), [("v1.23-edge", 14), ("v1.23-edged", 154), ("v1.20-edged", 166)]
)
async def test_what_a_real_edge_of_today_sent_goes_through(
    cloud: Cloud, join: Join, name: str, count: int
) -> None:
    """In order, and field by field; content as the edge wrote it, byte by byte."""
    edge = await join(cloud, silent=True, today=True)
    sent = recorded(name)
    assert len(sent) == count
    for data in sent:
        edge.write(frame(data, TEXT))
    await cloud.expect("edge-1", "connected")
    for data in sent:
        said = json.loads(data)
        header, route = said["header"], said["route"]
        if not route or route["operation"] == "keepalive":
            continue
        of_device = route["source"] == "twin" or "default/device" in route["resource"]
        got = await cloud.next(device=of_device)
        assert (got.id, got.parent_id) == (header["msg_id"], header.get("parent_msg_id", ""))
        assert (got.timestamp, got.resource_version) == (
            header["timestamp"],
            header.get("resourceversion", ""),
        )
        assert got.resource == f"node/edge-1/{route['resource']}"
        assert (got.source, got.group, got.operation) == (
            route["source"],
            route["group"],
            route["operation"],
        )
        if isinstance(said["content"], str | None):
            assert got.content == said["content"]
        else:
            assert data.endswith(b'"content":' + got.content + b"}\n")
    assert cloud.hub.statistics.unserved == 0
    assert cloud.hub.statistics.messages_up == count


async def test_a_flooding_edge_is_not_read_until_its_messages_are_taken(
    run_hub: Callable, join: Join, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is lost, what is in flight is limited, and another edge is served."""
    async with run_hub(rate_limit=0.0) as cloud:
        await _flood(cloud, join, monkeypatch)


def _hold_back_statuses(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Hold back each status message, and all messages after it, until the event is set."""
    released = asyncio.Event()
    send, send_some = cloud.context.send_to_group, cloud.context.send_some

    async def send_when_released(group: str, each: Message) -> None:
        if "podstatus" in each.resource:
            await released.wait()
        await send(group, each)

    def send_some_when_released(module: str, messages: Sequence[Message]) -> int:
        return send_some(module, messages) if released.is_set() else 0

    monkeypatch.setattr(cloud.context, "send_to_group", send_when_released)
    monkeypatch.setattr(cloud.context, "send_some", send_some_when_released)
    return released


async def _flood(cloud: Cloud, join: Join, monkeypatch: pytest.MonkeyPatch) -> None:
    released = _hold_back_statuses(cloud, monkeypatch)
    flooding, other = await join(cloud, "edge-1"), await join(cloud, "edge-2")
    await cloud.expect("edge-1", "connected")
    await cloud.expect("edge-2", "connected")
    count = 20_000
    content = "x" * 500

    async def flood() -> None:
        for number in range(count):
            await flooding.send(message("edged", f"default/podstatus/{number}", content=content))

    writing = asyncio.create_task(flood())
    session = cloud.hub.sessions["edge-1"]
    most = 0
    await until(lambda: session.in_flight >= upstream.SESSION_MESSAGES)
    for _ in range(20):
        most = max(most, session.in_flight)
        await asyncio.sleep(0.01)
    assert not writing.done()
    assert most < 4 * upstream.SESSION_MESSAGES
    await other.send(message("twin", "device/d/state"))  # it has a way of its own
    assert (await cloud.next(device=True)).resource == "node/edge-2/device/d/state"

    released.set()
    for number in range(count):
        assert (await cloud.next()).resource == f"node/edge-1/default/podstatus/{number}"
    await asyncio.wait_for(writing, DEADLINE)
    await until(lambda: not (session.in_flight or session.bytes_in_flight))


async def test_every_module_of_a_group_gets_what_waits_together(cloud: Cloud, join: Join) -> None:
    cloud.context.add_module_group("devicecontroller", "edgecontroller")
    edge = await join(cloud)
    for number in range(50):
        await edge.send(message("edged", f"default/podstatus/{number}"))
    for controller in (cloud.edgecontroller, cloud.devicecontroller):
        assert (await controller.receive(DEADLINE)).operation == "connected"
        for number in range(50):
            got = await controller.receive(DEADLINE)
            assert got.resource == f"node/edge-1/default/podstatus/{number}"


async def test_an_edge_that_sends_more_than_it_may_is_slowed_down(
    run_hub: Callable, join: Join
) -> None:
    """It loses nothing and stays connected; an edge below the limit is not slowed down."""
    async with run_hub(rate_limit=100.0, rate_burst=50) as cloud:
        fast, calm = await join(cloud, "edge-1"), await join(cloud, "edge-2")
        await cloud.expect("edge-1", "connected")
        await cloud.expect("edge-2", "connected")
        began = asyncio.get_running_loop().time()
        for number in range(150):
            await fast.send(message("edged", f"default/podstatus/{number}"))
        for number in range(20):
            await calm.send(message("twin", f"device/d{number}/state"))
        for _ in range(20):
            await cloud.next(device=True)
        assert cloud.hub.statistics.throttled == 1
        for number in range(150):
            got = await cloud.next()
            assert got.resource == f"node/edge-1/default/podstatus/{number}"
        # What has been read goes on at once; for that, what comes next has to wait.
        await fast.send(message("edged", "default/podstatus/last"))
        assert (await cloud.next()).resource == "node/edge-1/default/podstatus/last"
        assert asyncio.get_running_loop().time() - began > (150 - 50) / 100 * 0.9
        assert len(cloud.hub.sessions) == 2


async def test_a_flood_of_keepalives_is_slowed_down_too(run_hub: Callable, join: Join) -> None:
    async with run_hub(rate_limit=100.0, rate_burst=10) as cloud:
        edge = await join(cloud, "edge-1")
        await cloud.expect("edge-1", "connected")
        for _ in range(50):
            await edge.keepalive()
        await until(lambda: cloud.hub.statistics.throttled > 0)
        assert cloud.hub.statistics.keepalives < 51
        await until(lambda: cloud.hub.statistics.keepalives == 51)


async def test_without_a_module_to_take_them_messages_are_counted(
    run_hub: Callable, join: Join, caplog: pytest.LogCaptureFixture
) -> None:
    async with run_hub(modules=("edgecontroller",)) as cloud:
        edge = await join(cloud)
        for _ in range(5):
            await edge.send(message("twin", "device/d/state"))
        await edge.send(message("edged", "default/podstatus"))
        await cloud.expect("edge-1", "connected")
        await cloud.next()
        # five and the one that tells of the node's coming
        await until(lambda: cloud.hub.statistics.undeliverable_up == 6)
        assert len([each for each in caplog.records if "are dropped" in each.message]) == 1


@pytest.mark.parametrize("stops", [True, False], ids=["cloudcore stops", "the session ends"])
async def test_controllers_that_have_stopped_first_are_told_of_no_edge_that_goes(
    run_hub: Callable, join: Join, caplog: pytest.LogCaptureFixture, stops: bool
) -> None:
    async with run_hub() as cloud:
        edge = await join(cloud)
        await cloud.expect("edge-1", "connected")
        for name in ("edgecontroller", "devicecontroller"):
            cloud.context.registry.set_state(name, ChannelState.STOPPED)
        if stops:
            cloud.context.stop()
        else:
            await edge.leave()
        await until(lambda: not cloud.hub.sessions)
        await cloud.hub.upstream.drained()
    dropped = [each for each in caplog.messages if "are dropped, first disconnected" in each]
    assert len(dropped) == (0 if stops else 2)
    assert cloud.hub.statistics.undeliverable_up == (0 if stops else 2)


@pytest.mark.parametrize(
    ("source", "group", "operation", "resource"),
    [
        ("bus", "user", "upload", "default/topic"),
        ("websocket", "hub", "UpdateNodeActionStatus", "operations.kubeedge.io/v1alpha2/x/node/n"),
        ("edgehub", "taskmanager", "upgrade", "task/1/node/edge-1"),
        ("edgehub", "taskmanager", "prepull", "task/1/node/edge-1"),
        ("metaserver", "dynamiccontroller", "null", "null"),
        ("cloudhub", "resource", "connected", "x"),
        ("edgecontroller", "resource", "update", "default/pod/p"),
    ],
)
async def test_what_no_module_takes_is_counted_and_hurts_nobody(
    cloud: Cloud, join: Join, source: str, group: str, operation: str, resource: str
) -> None:
    """As message_dispatcher.go of v1.23 sorts it: taskmanager, router, dynamiccontroller."""
    edge: Edge = await join(cloud, today=True)
    sent = Message.build(source, group, operation, resource, {"a": 1})
    answer = Message.build(source, group, "response", "default/pod/p", "OK")
    for each in (sent, answer):
        await edge.send(each)
    await cloud.expect("edge-1", "connected")
    assert (await cloud.next()).id == answer.id
    assert cloud.hub.statistics.unserved == 1


@pytest.mark.parametrize(
    "resource",
    [
        "/",
        "//",
        "a",
        "node/edge-2/default/pod/p",
        "../x",
        "\0",
        "x" * 100_000,
        "k8s/ca.crt",
        "\ufffd",
    ],
    ids=lambda resource: resource[:10].encode().hex(),
)
async def test_an_odd_resource_stays_with_its_node(cloud: Cloud, join: Join, resource: str) -> None:
    edge: Edge = await join(cloud, today=True)
    await edge.send(Message.build("edged", "meta", "query", resource))
    await cloud.expect("edge-1", "connected")
    assert (await cloud.next()).resource == f"node/edge-1/{resource}"


async def test_a_late_answer_from_a_volume_goes_nowhere(cloud: Cloud, join: Join) -> None:
    edge: Edge = await join(cloud)
    await cloud.expect("edge-1", "connected")
    await edge.send(message("metaManager", "edge-1/volume/pvc-1", "response", "{}"))
    await edge.send(message("edged", "default/podstatus"))
    assert (await cloud.next()).resource == "node/edge-1/default/podstatus"
    assert cloud.hub.statistics.late_answers == 1


@pytest.mark.parametrize("how", ["breaks off", "is replaced", "is stopped"])
async def test_a_session_may_end_while_it_is_not_read(
    cloud: Cloud,
    join: Join,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    how: str,
) -> None:
    released = _hold_back_statuses(cloud, monkeypatch)
    edge = await join(cloud)
    for number in range(3 * upstream.SESSION_MESSAGES):
        await edge.send(message("edged", f"default/podstatus/{number}"))
    session = cloud.hub.sessions["edge-1"]
    await until(lambda: session.in_flight >= upstream.SESSION_MESSAGES)
    if how == "breaks off":
        await edge.leave()
    elif how == "is replaced":
        await join(cloud)
        assert (await edge.closed())[0] == 1000
    else:
        cloud.hub.downstream.dispatch(Message.build("x", "resource", "deleted", "node/edge-1"))
        assert (await edge.closed())[0] == 1000
    released.set()
    while (await cloud.next()).operation != "disconnected":
        pass
    await until(lambda: not session.in_flight)
    assert session.over
    assert not [each for each in caplog.records if each.levelname in ("ERROR", "CRITICAL")]
