"""The devices of v1beta1 of a replica, which keeps them compressed, and reads none.

Whatever comes first, an edge is sent whole devices and nothing older than what it has, and in the
end it has what the API has.
"""

from __future__ import annotations

import asyncio
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
from modules.common.device_references import DEVICE_TYPE
from modules.common.kube import DEVICES_V1BETA1, Object, key_of, reference
from modules.common.sync.record import Record
from modules.common.wire.generations import V1_23
from modules.devicecontroller.compressed import CompressedDevice
from modules.devicecontroller.duties import Duties
from modules.devicecontroller.edges import Edges
from modules.devicecontroller.status.conditions import conditions_of
from modules.devicecontroller.v1beta1.devices import Devices
from modules.devicecontroller.v1beta1.inventory import Inventory
from modules.devicecontroller.v1beta1.objects import (
    compressing,
    digest_of,
    for_edge,
    is_seen,
    model_of,
    node_of,
    protocol_of,
    state_of,
)
from tests.modules.devicecontroller import beta
from tests.modules.devicecontroller.fakes import dependencies
from tests.support.slow_api import SlowApi
from tests.support.waiting import DEADLINE

HERE, THERE = "here", "there"


class Edge:
    """What a node's edge has, and the messages that it has not acknowledged."""

    def __init__(self) -> None:
        self.has: dict[str, Object] = {}
        self.unacknowledged: list[ipc.Message] = []

    def take(self, message: ipc.Message, name: str) -> None:
        content = message.content
        assert not isinstance(content, CompressedDevice), "a compressed device was sent"
        if message.operation == "delete":
            if before := self.has.pop(name, None):
                assert content["metadata"]["uid"] == before["metadata"]["uid"], "another one"
                assert protocol_of(DEVICE_TYPE, content) == protocol_of(DEVICE_TYPE, before)
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

    def __init__(self, directory: Path, *, is_replica: bool = True) -> None:
        super().__init__(DEVICES_V1BETA1, "devicecontroller")
        self.faults: list[BaseException] = []
        self.edges: defaultdict[str, Edge] = defaultdict(Edge)
        self.served: set[str] = set()
        self.arrived: set[str] = set()
        self.record = Record(directory / "delivered.jsonl")
        nodes = {("", node): {"metadata": {"name": node}} for node in (HERE, THERE)}
        self.known = Edges(
            cast("Any", self), {}, nodes, lambda _: None, on_connected=lambda *_: None
        )
        self.devices = Devices(
            dependencies(self, nodes),
            self.record,
            self.known,
            Duties(self.known, cast("Any", SimpleNamespace(leads=False))),
            takeovers=cast("Any", SimpleNamespace(weaken=self._weaken)) if is_replica else None,
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

    def convert(self, name: str) -> None:
        """Give it another protocol, by which its mapper is found."""
        if before := self.objects.get(("default", name)):
            made = beta.device(
                name,
                node=node_of(before),
                value=str(self.revision + 1),
                deviceModelRef=None,
                protocol={"protocolName": f"protocol-{self.revision}"},
            )
            made["metadata"]["namespace"] = "default"
            self.put(made)

    def forget_last_states(self) -> None:
        """Forget what is gone, as of a node that was elsewhere, whose record is read anew."""
        self.devices.updater._decisions._last.clear()

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
        assert not self.reads
        assert all(isinstance(device, CompressedDevice) for device in self.store.values())

    async def finish(self) -> None:
        """Mend what is spoilt, and let everything arrive; then edges have what the API has."""
        for key, device in list(self.objects.items()):
            if "methods" in device["spec"]:
                self.change(key[1])
        for node in list(self.arrived):
            self.serve(node)
        async with asyncio.timeout(DEADLINE):
            await self.all_arrives(lambda: False)
            while not self._is_done():
                for node in self.served:
                    self.acknowledge(node)
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
        return not unacknowledged and not len(self.devices.updater)


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


names = st.sampled_from(["a", "b"])
places = st.sampled_from([HERE, HERE, THERE])
happening = st.one_of(
    st.tuples(st.just("change"), names, places),
    st.tuples(st.just("change"), names),
    st.tuples(st.just("convert"), names),
    st.tuples(st.just("forget_last_states")),
    st.tuples(st.just("spoil"), names),
    st.tuples(st.just("delete"), names),
    st.tuples(st.just("comes"), places),
    st.tuples(st.just("serve"), places),
    st.tuples(st.just("serve"), places),
    st.tuples(st.just("goes"), places),
    st.tuples(st.just("forget"), places),
    st.tuples(st.just("acknowledge"), places),
    st.tuples(st.just("acknowledge"), places),
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


@given(steps=st.lists(happening, min_size=5, max_size=60))
@settings(max_examples=400, deadline=None)
def test_whatever_comes_first_edges_have_what_the_api_has(
    runner: asyncio.Runner, steps: list[tuple[Any, ...]]
) -> None:
    runner.run(live(steps))


MADE, MOVED, GONE = ("change", "a", HERE), ("change", "a", THERE), ("delete", "a")
CHANGED, SPOILT = ("change", "a"), ("spoil", "a")
COMES, SERVED, GOES, FORGOTTEN = ((step, HERE) for step in ("comes", "serve", "goes", "forget"))
SHOWN, OK = ("show", 1), ("acknowledge", HERE)
SLOW, LISTED = ("expire_slowly",), ("list_arrives",)
#: The node has the device, and has been away for long.
HAD = (COMES, SERVED, MADE, SHOWN, OK, GOES, FORGOTTEN)


@pytest.mark.parametrize(
    "steps",
    [
        pytest.param([MADE, SHOWN, COMES, SERVED], id="a-node-comes"),
        pytest.param([COMES, MADE, SHOWN, SERVED], id="it-is-made-while-the-record-is-read"),
        pytest.param([COMES, SERVED, MADE, SHOWN, OK, GOES, FORGOTTEN], id="a-node-is-forgotten"),
        pytest.param([*HAD, COMES, SERVED], id="a-node-comes-back"),
        pytest.param([*HAD, CHANGED, SHOWN, COMES, SERVED], id="it-has-changed-meanwhile"),
        pytest.param([*HAD, MOVED, SHOWN, COMES, SERVED, OK], id="it-has-moved-meanwhile"),
        pytest.param([*HAD, GONE, SHOWN, COMES, SERVED, OK], id="it-is-gone-meanwhile"),
        pytest.param(
            [*HAD, GONE, MADE, SHOWN, SHOWN, COMES, SERVED, OK], id="another-one-has-its-name"
        ),
        pytest.param(
            [*HAD, GONE, MADE, SHOWN, SHOWN, ("forget_last_states",), COMES, SERVED, OK],
            id="another-one-has-its-name-and-its-last-state-is-not-known",
        ),
        pytest.param(
            [*HAD, ("convert", "a"), GONE, SHOWN, SHOWN, COMES, SERVED, OK],
            id="it-has-another-protocol-and-is-gone-meanwhile",
        ),
        pytest.param(
            [MOVED, SHOWN, COMES, SERVED, MADE, SHOWN], id="it-moves-to-a-node-that-is-served"
        ),
        pytest.param(
            [MADE, SHOWN, SPOILT, SHOWN, COMES, SERVED, CHANGED, SHOWN],
            id="it-was-set-aside-before-its-node-came",
        ),
        pytest.param(
            [*HAD, SPOILT, SHOWN, COMES, SERVED, CHANGED, SHOWN],
            id="it-was-set-aside-while-its-node-was-gone",
        ),
        pytest.param(
            [MADE, SHOWN, COMES, SERVED, SLOW, CHANGED, LISTED, SHOWN], id="all-is-listed-anew"
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
def test_a_compressed_device_answers_as_the_whole_one(device: Object) -> None:
    device["metadata"] |= {
        "namespace": "default",
        "uid": "u",
        "resourceVersion": "7",
        "creationTimestamp": "2026-01-01T00:00:00Z",
    }
    compressed = compressing(lambda obj: obj)(device)
    assert isinstance(compressed, CompressedDevice)
    assert compressed.decompress() == device
    for ask in (key_of, node_of, model_of, digest_of, state_of, conditions_of):
        assert ask(compressed) == ask(device)
    assert protocol_of(DEVICE_TYPE, compressed) == protocol_of(DEVICE_TYPE, device)
    assert reference(DEVICES_V1BETA1, compressed) == reference(DEVICES_V1BETA1, device)
    assert for_edge(DEVICE_TYPE, compressed) == for_edge(DEVICE_TYPE, device)
    assert is_seen(compressed, state_of(device))
    assert is_seen(compressed, "7")
    assert not is_seen(compressed, "@6")
    named = Inventory({}), Inventory({})
    for inventory, obj in zip(named, (compressed, device), strict=True):
        inventory.devices[key_of(obj)] = obj
    seniorities = [each._seniority(key_of(device)) for each in named]
    assert seniorities[0] == seniorities[1]


async def test_a_single_cloudcore_keeps_devices_as_they_are(tmp_path: Path) -> None:
    world = World(tmp_path, is_replica=False)
    made = beta.device()
    made["metadata"] |= {"namespace": "default", "uid": "u", "resourceVersion": "7"}
    kept = world.devices.reflectors[0]._keep(made)
    assert kept
    assert not isinstance(kept, CompressedDevice)
    world.record.close()
