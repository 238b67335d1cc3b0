"""The compressed devices of a replica: they say what whole ones say, and edges get whole ones.

Whatever changes while a node is here, on its way or elsewhere, its edge of KubeEdge 1.1 has in the
end what the API has.
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
from modules.common.kube import DEVICES, Key, Object, key_of, reference
from modules.common.wire.generations import V1_1
from modules.devicecontroller.compressed import CompressedDevice, decompressed
from modules.devicecontroller.duties import Duties
from modules.devicecontroller.edges import Edges
from modules.devicecontroller.status.conditions import conditions_of, keep_conditions
from modules.devicecontroller.v1alpha1.device import (
    desired_of,
    keep_compressed,
    keep_device,
    lost_reports,
    model_of,
)
from modules.devicecontroller.v1alpha1.devices import Devices
from modules.devicecontroller.v1alpha1.sync.inventory import DeviceSlot, Inventory, slot_of
from modules.devicecontroller.v1alpha1.sync.node_sync import Request, _whole
from modules.devicecontroller.v1alpha1.sync.record import SyncRecord
from modules.hollow.manifests import applied
from tests.modules.devicecontroller.fakes import dependencies
from tests.modules.devicecontroller.samples import device
from tests.support.slow_api import SlowApi
from tests.support.waiting import DEADLINE

HERE, THERE = "here", "there"
NODES = (HERE, THERE)


class Edge:
    """What an edge of 1.1 has of its devices: the desired values, and the highest version."""

    def __init__(self) -> None:
        self.has: dict[str, dict[str, str]] = {}
        self.versions: dict[str, int] = {}

    def take(self, message: ipc.Message) -> None:
        content, (_, about) = message.content, message_resource.split(message.resource)
        if about == message_resource.MEMBERSHIP_DETAIL:
            self.has = {each["id"]: {} for each in content["devices"]}
            for each in content["devices"]:
                self._expect(each["id"], each.get("twin") or {})
        elif about.startswith("device/"):
            name = message_resource.parse_device(message.resource).device
            assert name in self.has, "unknown"
            self._expect(name, content["twin"])
        else:
            for each in content["removed_devices"] or ():
                assert "a" in each["twin"], "not whole"
                del self.has[each["id"]]
            for each in content["added_devices"] or ():
                assert each["id"] not in self.has, "it has that"
                self.has[each["id"]] = {}
                self.versions.pop(each["id"], None)  # edges begin anew with what is added
                self._expect(each["id"], each.get("twin") or {})

    def _expect(self, name: str, twins: Object) -> None:
        for twin, about in twins.items():
            version = about["expected_version"]["cloud"]
            assert version >= self.versions.get(name, 0), "refused as outdated"
            self.versions[name] = version
            if about["metadata"]["type"] == "deleted":
                self.has[name].pop(twin, None)
            else:
                self.has[name][twin] = about["expected"]["value"]


class World(SlowApi):
    """An API, the devices of one replica, and two nodes that come and go."""

    def __init__(self, directory: Path) -> None:
        super().__init__(DEVICES, "devicecontroller")
        self.faults: list[BaseException] = []
        self.edges: defaultdict[str, Edge] = defaultdict(Edge)
        self.served: set[str] = set()
        self.arrived: set[str] = set()
        self.record = SyncRecord(directory / "told.jsonl")
        nodes = {("", node): {"metadata": {"name": node}} for node in NODES}
        known = Edges(cast("Any", self), {}, nodes, lambda _: None, on_connected=lambda *_: None)
        self.known = known
        self.devices = Devices(
            dependencies(self, nodes),
            self.record,
            Duties(known, cast("Any", SimpleNamespace(leads=False))),
            takeovers=cast(
                "Any",
                SimpleNamespace(promise=self._promise, is_reading=self.arrived.__contains__),
            ),
        )
        self.reflector = self.devices.reflectors[0]
        for reflector in self.devices.reflectors:
            reflector._backoff = cast("Any", SimpleNamespace(next=lambda: 0.0, reset=lambda: None))

    async def _promise(self, _: Any) -> bool:
        await asyncio.sleep(0)
        return True

    async def send(self, _: str, message: ipc.Message) -> None:
        """Take what is sent to an edge, if it is connected."""
        node, _ = message_resource.split(message.resource)
        if node in self.served:
            try:
                self.edges[node].take(message)
            except (AssertionError, KeyError) as error:
                self.faults.append(error)

    # What happens

    def change(self, key: Key, node: str | None = None, *more: str) -> None:
        """Make a device, or change it: what is desired is its version."""
        before = self.objects.get(key)
        where = node or (before and before["metadata"]["labels"]["node"]) or HERE
        twins = dict.fromkeys(("a", *more), str(self.revision + 1))
        made = device(key[1], namespace=key[0], node=where, twins=twins)
        made["metadata"]["labels"]["node"] = where
        self.put(made)

    def report(self, key: Key) -> None:
        """Have the status say what is reported, which changes nothing that is sent."""
        if before := self.objects.get(key):
            twins = [
                {**twin, "reported": {"value": str(self.revision)}}
                for twin in before["status"]["twins"]
            ]
            metadata = dict(before["metadata"])
            self.put({**before, "metadata": metadata, "status": {"twins": twins}})

    def spoil(self, key: Key) -> None:
        """Make it one that cannot be used."""
        if before := self.objects.get(key):
            spec = {**before["spec"], "deviceModelRef": 5}
            self.put({**before, "metadata": dict(before["metadata"]), "spec": spec})

    def delete(self, key: Key) -> None:
        self.remove(key)

    def comes(self, node: str) -> None:
        """Have a node dial: its record is read, which takes some time."""
        self.goes(node)
        self.known.arrives(node)
        self.arrived.add(node)
        self.devices.node_sync.learn(node, V1_1)

    def asks(self, node: str) -> None:
        if node in self.served | self.arrived:
            self.devices.node_sync.answer(node, Request("", "", lambda: None))

    def serve(self, node: str) -> None:
        if node in self.arrived:
            self.arrived.discard(node)
            self.served.add(node)
            self.devices.node_sync.connected(node, V1_1, 0.0)
            self.known.connected(node, V1_1)
            self.devices.edge_changed(node)

    def goes(self, node: str) -> None:
        self.arrived.discard(node)
        self.served.discard(node)
        self.devices.node_sync.disconnected(node)
        self.known.disconnected(node)

    def is_elsewhere(self, node: str) -> None:
        """Let another replica send a node all that there is, and record it."""
        if node in self.served | self.arrived:
            return
        edge, told = self.edges[node], dict(self.record.of_node(node))
        for name in told:
            self.record.forget(DeviceSlot(node, name))
        edge.has = {}
        for name, found in self.wanted(node).items():
            self.record.put(DeviceSlot(node, name), _whole(found, told.get(name)))
            edge.has[name] = {twin: each.value for twin, each in desired_of(found).items()}
            edge.versions[name] = max(
                int(found["metadata"]["resourceVersion"]), edge.versions.get(name, 0)
            )

    # What is to be

    def wanted(self, node: str) -> dict[str, Object]:
        """Return the devices that a node is to have."""
        found: dict[str, Object] = {}
        for _, obj in sorted(self.objects.items()):
            is_usable = obj["spec"]["deviceModelRef"] != 5
            if is_usable and obj["metadata"]["labels"]["node"] == node:
                found.setdefault(obj["metadata"]["name"], cast("Object", keep_device(obj)))
        return found

    def check(self) -> None:
        assert not self.faults, self.faults[0]
        for kept in self.reflector.store.values():
            assert isinstance(kept, CompressedDevice)

    async def finish(self) -> None:
        """Mend what is spoilt, and let everything arrive; then edges have what the API has."""
        for key, obj in list(self.objects.items()):
            if obj["spec"]["deviceModelRef"] == 5:
                self.change(key)
        for node in list(self.arrived):
            self.serve(node)
        async with asyncio.timeout(DEADLINE):
            await self.all_arrives(lambda: False)
            while len(self.devices.node_sync.queue):
                await self.settle()
        self.check()
        assert not self.reflector.aside
        for node in self.served:
            wanted = {
                name: {twin: each.value for twin, each in desired_of(found).items()}
                for name, found in self.wanted(node).items()
            }
            assert self.edges[node].has == wanted
        stored = {key: decompressed(each) for key, each in self.reflector.store.items()}
        assert stored == {key: keep_device(obj) for key, obj in self.objects.items()}


async def live(steps: list[tuple[Any, ...]]) -> None:
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
            world.devices.writer.queue.stop()
            world.record.close()


A, B, RIVAL = ("ns", "a"), ("ns", "b"), ("later", "a")
keys = st.sampled_from([A, A, B, RIVAL])
places = st.sampled_from([HERE, HERE, THERE])
happening = st.one_of(
    st.tuples(st.just("change"), keys, places),
    st.tuples(st.just("change"), keys, places, st.just("b")),
    st.tuples(st.just("change"), keys),
    st.tuples(st.just("report"), keys),
    st.tuples(st.just("spoil"), keys),
    st.tuples(st.just("delete"), keys),
    st.tuples(st.just("comes"), places),
    st.tuples(st.just("asks"), places),
    st.tuples(st.just("serve"), places),
    st.tuples(st.just("serve"), places),
    st.tuples(st.just("goes"), places),
    st.tuples(st.just("is_elsewhere"), places),
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


MADE, MOVED = ("change", A, HERE), ("change", A, THERE)
CHANGED, REPORTED, SPOILT, GONE = ((step, A) for step in ("change", "report", "spoil", "delete"))
COMES, ASKS, SERVED, GOES, ELSEWHERE = (
    (step, HERE) for step in ("comes", "asks", "serve", "goes", "is_elsewhere")
)
SHOWN, SLOW, LISTED = ("show", 1), ("expire_slowly",), ("list_arrives",)
#: The node has the device, and is gone.
HAD = (COMES, SERVED, MADE, SHOWN, GOES)


@given(
    first=st.sampled_from([(), (COMES, SERVED, MADE, SHOWN), HAD]),
    steps=st.lists(happening, min_size=5, max_size=60),
)
@settings(max_examples=300, deadline=None)
def test_whatever_comes_first_old_edges_have_what_the_api_has(
    runner: asyncio.Runner, first: tuple[Any, ...], steps: list[tuple[Any, ...]]
) -> None:
    runner.run(live([*first, *steps]))


@pytest.mark.parametrize(
    "steps",
    [
        pytest.param([MADE, SHOWN, COMES, SERVED], id="a-node-comes"),
        pytest.param([MADE, SHOWN, COMES, ASKS, SERVED], id="it-asks-before-it-is-served"),
        pytest.param([COMES, MADE, SHOWN, SERVED], id="it-is-made-while-the-record-is-read"),
        pytest.param([*HAD, CHANGED, SHOWN, COMES, SERVED], id="it-has-changed-meanwhile"),
        pytest.param([*HAD, MOVED, SHOWN, COMES, SERVED], id="it-has-moved-meanwhile"),
        pytest.param([*HAD, GONE, SHOWN, COMES, SERVED], id="it-is-gone-meanwhile"),
        pytest.param([*HAD, COMES, MOVED, SHOWN, SERVED], id="it-moves-while-its-node-comes"),
        pytest.param(
            [MOVED, SHOWN, COMES, SERVED, MADE, SHOWN], id="it-moves-to-a-node-that-is-served"
        ),
        pytest.param(
            [COMES, SERVED, MADE, SHOWN, MOVED, SHOWN], id="it-moves-from-a-node-that-is-served"
        ),
        pytest.param([COMES, SERVED, MADE, SHOWN, GONE, SHOWN], id="it-is-deleted"),
        pytest.param([COMES, SERVED, MADE, SHOWN, REPORTED, CHANGED, SHOWN, SHOWN], id="reports"),
        pytest.param(
            [*HAD, CHANGED, ELSEWHERE, CHANGED, COMES, SERVED, SHOWN, SHOWN],
            id="the-watch-is-behind-another-replica",
        ),
        pytest.param(
            [*HAD, ("change", A, HERE, "b"), ELSEWHERE, CHANGED, SHOWN, SHOWN, COMES, SERVED],
            id="a-property-is-gone-that-another-replica-has-sent",
        ),
        pytest.param([*HAD, SPOILT, SHOWN, COMES, SERVED], id="it-is-set-aside-meanwhile"),
        pytest.param(
            [*HAD, GONE, MADE, SHOWN, SHOWN, COMES, SERVED], id="another-one-of-its-name-is-made"
        ),
        pytest.param(
            [MADE, SHOWN, SLOW, MOVED, COMES, LISTED, SERVED, SHOWN], id="all-is-listed-meanwhile"
        ),
    ],
)
async def test_each_order(steps: list[tuple[Any, ...]]) -> None:
    await live(steps)


DESIRED = {"propertyName": "a", "desired": {"value": "1", "metadata": {"type": "string"}}}


@pytest.mark.parametrize(
    "made",
    [
        device(protocol={"opcua": {"url": "opc.tcp://h", "password": "p"}}),
        device(node=None, twins={}),
        device(model=""),
        applied(device(twins={"a": "1"})),
        {**applied(device(twins={"a": "1"})), "status": {}},
        {**device(), "status": {"conditions": [{"type": "Accepted"}], "twins": [DESIRED]}},
        {"metadata": {"name": "bare"}},
        {"metadata": {"name": "bare"}, "spec": {"deviceModelRef": None}, "status": None},
    ],
)
def test_a_compressed_device_answers_as_the_whole_one(made: Object) -> None:
    made["metadata"] |= {"namespace": "default", "uid": "u", "resourceVersion": "7"}
    kept, compressed = keep_device(made), keep_compressed(made)
    assert kept is not None
    assert isinstance(compressed, CompressedDevice)
    assert decompressed(compressed) == kept == decompressed(kept)
    for ask in (key_of, slot_of, model_of, conditions_of):
        assert ask(compressed) == ask(kept)
    assert compressed.get("seeded", False) == kept.get("seeded", False)
    assert reference(DEVICES, compressed) == reference(DEVICES, kept)
    # What the condition is made of if a bug has set it aside.
    assert keep_conditions(DEVICES, compressed) == keep_conditions(DEVICES, kept)
    named = Inventory({}, {}, {}), Inventory({}, {}, {})
    for inventory, obj in zip(named, (compressed, kept), strict=True):
        inventory.devices[key_of(obj)] = obj
        inventory.add(obj)
    one, other = named
    assert one._seniority(key_of(kept)) == other._seniority(key_of(kept))
    assert list(one.slots()) == list(other.slots())
    for slot in one.slots():
        assert one.at(slot) == other.at(slot) == kept


def test_a_device_of_the_other_version_is_no_device_of_this_one() -> None:
    assert keep_compressed({"metadata": {"name": "a"}, "spec": {"nodeName": "n"}}) is None


twins = st.lists(
    st.fixed_dictionaries(
        {"propertyName": st.sampled_from("ab")},
        optional={
            "desired": st.fixed_dictionaries({"value": st.sampled_from("xy")}),
            "reported": st.fixed_dictionaries({"value": st.sampled_from("xy")}),
        },
    ),
    max_size=2,
    unique_by=lambda twin: twin["propertyName"],
)
states = st.builds(
    lambda node, model, listed, manifest: {
        **applied(device(node=node, model=model, twins=manifest)),
        "status": {"twins": listed},
    },
    st.sampled_from(NODES),
    st.sampled_from("mn"),
    twins,
    st.dictionaries(st.sampled_from("ab"), st.sampled_from("xy"), max_size=2),
)


@given(old=states, new=states)
def test_two_states_that_differ_in_values_alone_lack_nothing_else(old: Object, new: Object) -> None:
    before, after = keep_compressed(old), keep_compressed(new)
    assert isinstance(before, CompressedDevice)
    assert isinstance(after, CompressedDevice)
    if after.digest == before.digest:
        before, after = before.decompress(), after.decompress()
        assert before["spec"] == after["spec"]
        assert before.get("applied") == after.get("applied")
        assert not lost_reports(before, after)


def test_values_that_are_reported_or_desired_are_no_more_than_values() -> None:
    found = []
    for value in "12":
        made = device(twins={"a": value})
        made["metadata"]["resourceVersion"] = value
        made["status"]["twins"][0]["reported"] = {"value": value}
        made["status"]["conditions"] = [{"type": "Accepted", "message": value}]
        found.append(cast("CompressedDevice", keep_compressed(made)))
    assert found[1].digest == found[0].digest
