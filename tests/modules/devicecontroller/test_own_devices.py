"""The devices of a replica: whole if their node is served here, else an outline.

Whatever comes first, what was read or the watch, an edge is sent whole devices and nothing older
than what it has, and in the end it has what the API has.
"""

from __future__ import annotations

import asyncio
import weakref
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ipc
from modules.common import message_resource
from modules.common.device_references import DEVICE_TYPE, model_of, node_of
from modules.common.kube import DEVICES_V1BETA1, Object, key_of, reference
from modules.common.sync import outlines
from modules.common.sync.outlines import Outline
from modules.common.sync.record import Record
from modules.common.wire.generations import V1_23
from modules.devicecontroller.duties import Duties
from modules.devicecontroller.edges import Edges
from modules.devicecontroller.status.conditions import conditions_of
from modules.devicecontroller.v1beta1.devices import Devices
from modules.devicecontroller.v1beta1.inventory import Inventory
from modules.devicecontroller.v1beta1.messages import describe
from modules.devicecontroller.v1beta1.objects import (
    DeviceOutline,
    digest_of,
    is_seen,
    properties_of,
    protocol_of,
    state_of,
)
from tests.modules.devicecontroller import beta
from tests.support.aside import make_set_aside
from tests.support.slow_api import SlowApi

HERE, THERE = "here", "there"


class Edge:
    """What a node's edge has, and the messages that it has not acknowledged."""

    def __init__(self) -> None:
        self.has: dict[str, Object] = {}
        self.unacknowledged: list[ipc.Message] = []

    def take(self, message: ipc.Message, name: str) -> None:
        content = message.content
        assert "digest" not in content, "an outline was sent"
        if message.operation == "delete":
            self.has.pop(name, None)
        else:
            metadata = content["metadata"]
            assert value_of(content) == metadata["resourceVersion"], "not whole"
            before = self.has.get(name)
            if before and before["metadata"]["uid"] == metadata["uid"]:
                former = int(before["metadata"]["resourceVersion"])
                assert former <= int(metadata["resourceVersion"]), "it goes back"
            self.has[name] = content
        self.unacknowledged.append(message)


def value_of(device: Object) -> str:
    value: str = device["spec"]["properties"][0]["desired"]["value"]
    return value


class World(SlowApi):
    """An API, the devices of one replica, and two nodes that come and go."""

    def __init__(self, directory: Path) -> None:
        super().__init__(DEVICES_V1BETA1, "devicecontroller")
        self.faults: list[BaseException] = []
        self.edges: defaultdict[str, Edge] = defaultdict(Edge)
        self.served: set[str] = set()
        self.arrived: set[str] = set()
        self.own: set[str] = set()
        self.record = Record(directory / "delivered.jsonl")
        nodes = {("", node): {"metadata": {"name": node}} for node in (HERE, THERE)}
        self.known = Edges(
            cast("Any", self), {}, nodes, lambda _: None, on_connected=lambda *_: None
        )
        self.devices = Devices(
            cast("Any", self),
            cast("Any", self),
            self.record,
            self.known,
            nodes,
            namespace=None,
            on_change=lambda: None,
            definitions=cast(
                "Any",
                SimpleNamespace(
                    has_device_statuses=True, is_v1beta1_alone=lambda: True, explain=None
                ),
            ),
            set_aside=make_set_aside(),
            takeovers=cast("Any", SimpleNamespace(weaken=self._weaken)),
            duties=Duties(self.known, cast("Any", SimpleNamespace(leads=False))),
        )
        self.store = self.devices.reflectors[0].store
        self.aside = self.devices.reflectors[0].aside
        for reflector in self.devices.reflectors:
            reflector._backoff = cast("Any", SimpleNamespace(next=lambda: 0.0, reset=lambda: None))

    async def _weaken(self, rows: Any) -> set[str]:
        await asyncio.sleep(0)
        return set()

    async def send(self, _: str, message: ipc.Message) -> None:
        """Take what is sent to an edge."""
        node, _ = message_resource.split(message.resource)
        if "/device/" in message.resource:
            try:
                self.edges[node].take(message, message.resource.rpartition("/")[2])
            except AssertionError as error:
                self.faults.append(error)

    # What happens

    def change(self, name: str, node: str | None = None) -> None:
        before = self.objects.get(("default", name))
        where = (before and node_of(before)) or HERE if node is None else node
        made = beta.device(name, node=where, value=str(self.revision + 1), deviceModelRef=None)
        made["metadata"]["namespace"] = "default"
        self.put(made)

    def spoil(self, name: str) -> None:
        """Make it one that cannot be used."""
        if before := self.objects.get(("default", name)):
            spec = {**before["spec"], "methods": 5}
            self.put({**before, "metadata": {**before["metadata"]}, "spec": spec})

    def delete(self, name: str) -> None:
        self.remove(("default", name))

    def comes(self, node: str) -> None:
        """Have a node dial: its record is read, which takes some time."""
        self.goes(node)
        self.known.arrives(node)
        self.devices.arrives(node)
        self.own.add(node)
        self.arrived.add(node)

    def serve(self, node: str) -> None:
        if node in self.arrived:
            self.arrived.discard(node)
            self.served.add(node)
            self.known.connected(node, V1_23)
            self.devices.connected(node)

    def goes(self, node: str) -> None:
        self.arrived.discard(node)
        self.served.discard(node)
        self.known.disconnected(node)
        self.devices.disconnected(node)
        self.edges[node].unacknowledged.clear()

    def forget(self, node: str) -> None:
        """Let a node have been away for long."""
        if node not in self.served | self.arrived:
            self.own.discard(node)
            self.devices.forget({node})

    def acknowledge(self, node: str) -> None:
        waiting = self.edges[node].unacknowledged
        if waiting and node in self.served:
            message = waiting.pop(0)
            answer = ipc.Message.build(
                "meta", "resource", "response", message.resource, "OK", parent_id=message.id
            )
            self.devices.answered(node, answer)

    # What is to be

    def check(self) -> None:
        assert not self.faults, self.faults[0]
        for device in self.store.values():
            assert isinstance(device, DeviceOutline) or node_of(device) in self.own

    async def finish(self) -> None:
        """Mend what is spoilt, and let everything arrive; then edges have what the API has."""
        for key, device in list(self.objects.items()):
            if "methods" in device["spec"]:
                self.change(key[1])
        for node in list(self.arrived):
            self.serve(node)
        async with asyncio.timeout(5):
            await self.all_arrives(lambda: False)
            while not self._is_done():
                for node in self.served:
                    self.acknowledge(node)
                self.answer(0)
                self.arrive(0)
                await self.settle()
        self.check()
        assert not self.aside
        for node in self.served:
            wanted = {
                key[1]: value_of(device)
                for key, device in self.objects.items()
                if node_of(device) == node
            }
            assert {
                name: value_of(device) for name, device in self.edges[node].has.items()
            } == wanted
        versions = {key: each["metadata"]["resourceVersion"] for key, each in self.store.items()}
        assert versions == {
            key: each["metadata"]["resourceVersion"] for key, each in self.objects.items()
        }

    def _is_done(self) -> bool:
        unacknowledged = any(self.edges[node].unacknowledged for node in self.served)
        return not self.reads and not unacknowledged and not len(self.devices.updater)


async def live(steps: list[tuple[Any, ...]]) -> World:
    with TemporaryDirectory() as directory:
        world = World(Path(directory))
        tasks = [asyncio.create_task(each.run()) for each in world.devices.reflectors]
        await world.settle()
        tasks.append(asyncio.create_task(world.devices.run(1)))
        try:
            for step, *arguments in steps:
                getattr(world, step)(*arguments)
                await world.settle()
                for task in tasks:
                    assert not task.done(), task.exception()
                world.check()
            await world.finish()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            world.devices.stop()
            world.record.close()
    return world


numbers = st.integers(0, 3)
names = st.sampled_from(["a", "b"])
places = st.sampled_from([HERE, HERE, THERE])
happening = st.one_of(
    st.tuples(st.just("change"), names, places),
    st.tuples(st.just("change"), names),
    st.tuples(st.just("spoil"), names),
    st.tuples(st.just("delete"), names),
    st.tuples(st.just("comes"), places),
    st.tuples(st.just("serve"), places),
    st.tuples(st.just("serve"), places),
    st.tuples(st.just("goes"), places),
    st.tuples(st.just("forget"), places),
    st.tuples(st.just("acknowledge"), places),
    st.tuples(st.just("acknowledge"), places),
    st.tuples(st.just("answer"), numbers),
    st.tuples(st.just("arrive"), numbers),
    st.tuples(st.just("arrive"), numbers),
    st.tuples(st.just("show"), st.integers(1, 4)),
    st.tuples(st.just("show"), st.integers(1, 4)),
    st.tuples(st.just("expire")),
    st.tuples(st.just("expire_slowly")),
    st.tuples(st.just("list_arrives")),
)


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outlines, "_AGAIN", 0.0)


@given(steps=st.lists(happening, min_size=5, max_size=60))
@settings(max_examples=400, deadline=None)
def test_whatever_comes_first_edges_have_what_the_api_has(
    runner: asyncio.Runner, steps: list[tuple[Any, ...]]
) -> None:
    runner.run(live(steps))


MADE, MOVED, GONE = ("change", "a", HERE), ("change", "a", THERE), ("delete", "a")
CHANGED, SPOILT = ("change", "a"), ("spoil", "a")
COMES, SERVED, GOES, FORGOTTEN = ((step, HERE) for step in ("comes", "serve", "goes", "forget"))
ANSWERED, ARRIVES, SHOWN, OK = ("answer", 0), ("arrive", 0), ("show", 1), ("acknowledge", HERE)
SLOW, LISTED = ("expire_slowly",), ("list_arrives",)
READ = (ANSWERED, ARRIVES)
#: The node has the device, of which there is an outline.
HAD = (COMES, SERVED, MADE, SHOWN, OK, GOES, FORGOTTEN)


@pytest.mark.parametrize(
    "steps",
    [
        pytest.param([MADE, SHOWN, COMES, SERVED, *READ], id="a-node-comes"),
        pytest.param([COMES, MADE, SHOWN, SERVED], id="it-is-made-while-the-record-is-read"),
        pytest.param([COMES, SERVED, MADE, SHOWN, OK, GOES, FORGOTTEN], id="a-node-is-forgotten"),
        pytest.param([*HAD, COMES, SERVED], id="a-node-comes-back"),
        pytest.param([*HAD, CHANGED, SHOWN, COMES, SERVED, *READ], id="it-has-changed-meanwhile"),
        pytest.param([*HAD, MOVED, SHOWN, COMES, SERVED, OK], id="it-has-moved-meanwhile"),
        pytest.param([*HAD, GONE, SHOWN, COMES, SERVED, OK], id="it-is-gone-meanwhile"),
        pytest.param(
            [MADE, SHOWN, COMES, SERVED, ANSWERED, MOVED, SHOWN, ARRIVES],
            id="it-moves-while-it-is-read",
        ),
        pytest.param(
            [MADE, SHOWN, COMES, SERVED, MOVED, *READ, SHOWN], id="it-has-moved-when-it-is-read"
        ),
        pytest.param(
            [MOVED, SHOWN, COMES, SERVED, MADE, SHOWN], id="it-moves-to-a-node-that-is-served"
        ),
        pytest.param(
            [MADE, SHOWN, COMES, SERVED, ANSWERED, GONE, SHOWN, ARRIVES],
            id="it-is-deleted-while-it-is-read",
        ),
        pytest.param(
            [MADE, SHOWN, COMES, SERVED, GONE, *READ, SHOWN], id="it-is-gone-when-it-is-read"
        ),
        pytest.param(
            [MADE, SHOWN, COMES, SERVED, GONE, MADE, *READ, SHOWN, SHOWN],
            id="its-successor-is-read",
        ),
        pytest.param(
            [MADE, SHOWN, COMES, SERVED, SPOILT, *READ, SHOWN], id="it-is-spoilt-when-it-is-read"
        ),
        pytest.param(
            [MADE, SHOWN, SPOILT, SHOWN, COMES, SERVED, *READ, CHANGED, SHOWN],
            id="it-was-set-aside-before-its-node-came",
        ),
        pytest.param(
            [*HAD, SPOILT, SHOWN, COMES, SERVED, *READ, CHANGED, SHOWN],
            id="it-was-set-aside-while-its-node-was-gone",
        ),
        pytest.param(
            [MADE, SHOWN, COMES, SERVED, SLOW, CHANGED, *READ, LISTED, SHOWN],
            id="all-is-listed-while-it-is-read",
        ),
        pytest.param(
            [MADE, SHOWN, COMES, SERVED, ANSWERED, GOES, FORGOTTEN, ARRIVES, COMES, SERVED, *READ],
            id="its-node-is-forgotten-while-it-is-read",
        ),
    ],
)
async def test_each_order(steps: list[tuple[Any, ...]]) -> None:
    await live(steps)


@pytest.mark.parametrize(
    "device",
    [
        beta.device(),
        beta.device(properties=None, protocol=None, deviceModelRef=None, node=""),
        beta.device(properties=[{"name": "a", "visitors": {}}, {"desired": {}}, {"name": "b"}]),
        {"metadata": {"name": "bare"}},
        {"metadata": {"name": "bare"}, "spec": {"protocol": {}, "deviceModelRef": {}}},
        {"metadata": {"name": "bare"}, "status": {"twins": [], "conditions": None}},
        {"metadata": {"name": "bare"}, "status": {"conditions": [{"type": "Accepted"}]}},
    ],
)
def test_an_outline_answers_as_the_whole_device(device: Object) -> None:
    device["metadata"] |= {
        "namespace": "default",
        "uid": "u",
        "resourceVersion": "7",
        "creationTimestamp": "2026-01-01T00:00:00Z",
    }
    outline = DeviceOutline.of(device)
    assert isinstance(outline, Outline)
    for ask in (key_of, node_of, model_of, properties_of, digest_of, state_of, conditions_of):
        assert ask(outline) == ask(device)
    assert protocol_of(DEVICE_TYPE, outline) == protocol_of(DEVICE_TYPE, device)
    assert reference(DEVICES_V1BETA1, outline) == reference(DEVICES_V1BETA1, device)
    assert describe("id", key_of(device), outline) == describe("id", key_of(device), device)
    assert is_seen(outline, state_of(device))
    assert is_seen(outline, "7")
    assert not is_seen(outline, "@6")
    named = Inventory({}), Inventory({})
    for inventory, obj in zip(named, (outline, device), strict=True):
        inventory.devices[key_of(obj)] = obj
    seniorities = [each._seniority(key_of(device)) for each in named]
    assert seniorities[0] == seniorities[1]


def test_outlines_of_one_kind_share_what_they_have_in_common_and_it_goes_with_the_last() -> None:
    both = [DeviceOutline.of(beta.device(name, properties=[{"name": "own"}])) for name in "ab"]
    parts = [outline["spec"]["properties"] for outline in both]
    assert parts[0] is parts[1]
    common = weakref.ref(both[0]._kind)
    del both
    assert common() is None
