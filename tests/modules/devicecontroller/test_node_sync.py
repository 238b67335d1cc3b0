"""What nodes are told, over real channels: each change once, a whole list when they ask."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import ipc
from modules.common.kube import key_of
from modules.devicecontroller.v1alpha1.sync.inventory import (
    DeviceSlot,
    Inventory,
    slot_of,
)
from modules.devicecontroller.v1alpha1.sync.node_sync import (
    NodeSync,
    Request,
)
from modules.devicecontroller.v1alpha1.sync.record import SyncRecord
from tests.modules.devicecontroller.samples import LED, NODE, device, recorded, shape
from tests.support.aside import make_set_aside
from tests.support.waiting import DEADLINE

HERE = DeviceSlot(NODE, LED)


class Cloud:
    """An node_sync with an inventory that the test changes, and cloudhub's end of the channel."""

    def __init__(self, path: Path) -> None:
        contexts = ipc.open_contexts(
            {"cloudhub": "cloudhub", "devicecontroller": "devicecontroller"}
        )
        self.cloudhub = contexts["cloudhub"]
        self.store: dict[tuple[str, str], dict[str, Any]] = {}
        self.inventory = Inventory(self.store, {}, {})
        self.record = SyncRecord(path)
        self.context = contexts["devicecontroller"]
        self.node_sync = NodeSync(self.context, self.inventory, self.record, make_set_aside())

    def put(self, obj: dict[str, Any]) -> None:
        old = self.store.pop(key_of(obj), None)
        if old:
            self.inventory.remove(old)
        self.store[key_of(obj)] = obj
        self.inventory.add(obj)
        self._look(obj)
        if old and slot_of(old) != slot_of(obj):
            self._look(old)

    def drop(self, obj: dict[str, Any]) -> None:
        self.inventory.remove(self.store.pop(key_of(obj)))
        slot = slot_of(obj)
        assert slot
        self.node_sync.enqueue(slot, obj)

    def _look(self, obj: dict[str, Any]) -> None:
        if slot := slot_of(obj):
            self.node_sync.enqueue(slot)

    async def said(self) -> ipc.Message:
        return await self.cloudhub.receive(timeout=DEADLINE)

    async def quiet(self) -> None:
        """Nothing more is said: what is asked now is answered next."""
        self.node_sync.answer("marker", Request("marker", "", lambda: None))
        assert (await self.said()).parent_id == "marker"


@pytest.fixture
async def cloud(tmp_path: Path) -> AsyncIterator[Cloud]:
    cloud = Cloud(tmp_path / "told.jsonl")
    with closing(cloud.record):
        task = asyncio.create_task(cloud.node_sync.queue.run())
        yield cloud
        cloud.node_sync.queue.stop()
        task.cancel()
        await asyncio.wait([task])


def content_like(message: ipc.Message, resource: str, which: int) -> None:
    """A message is like the recorded one in all but ids, times and versions."""
    original = recorded()[resource][which]
    assert message.resource == f"node/{NODE}/{resource}"
    assert (message.source, message.group, message.operation) == (
        original["route"]["source"],
        original["route"]["group"],
        original["route"]["operation"],
    )
    assert message.parent_id == ""
    assert shape(message.content) == shape(original["content"])


async def test_life_of_a_device_as_recorded(cloud: Cloud) -> None:
    cloud.put(device())
    content_like(await cloud.said(), "membership", 0)
    changed = device(version="225", twins={"power-status": "ON"})
    cloud.put(changed)
    content_like(await cloud.said(), f"device/{LED}/twin/cloud_updated", 1)
    cloud.drop(changed)
    content_like(await cloud.said(), "membership", 1)
    await cloud.quiet()


async def test_reported_value_sends_nothing_back(cloud: Cloud) -> None:
    cloud.put(device())
    await cloud.said()
    echo = device(version="222")
    echo["status"]["twins"][0]["reported"] = {"value": "ON", "metadata": {"type": "string"}}
    cloud.put(echo)
    await cloud.quiet()


async def test_moved_device_is_added_there_then_removed_here(cloud: Cloud) -> None:
    cloud.put(device())
    await cloud.said()
    cloud.put(device(node="other"))
    there, here = await cloud.said(), await cloud.said()
    assert there.resource == "node/other/membership"
    assert there.content["added_devices"][0]["id"] == LED
    assert here.resource == f"node/{NODE}/membership"
    assert here.content["removed_devices"][0]["id"] == LED


async def test_device_replaced_by_another_of_its_name(cloud: Cloud) -> None:
    cloud.put(device())
    await cloud.said()
    cloud.put(device(uid="another"))
    assert (await cloud.said()).content["removed_devices"]
    assert (await cloud.said()).content["added_devices"]
    await cloud.quiet()


async def test_dropped_property_is_told_once_and_in_every_detail(cloud: Cloud) -> None:
    cloud.put(device(twins={"a": "1", "b": "2"}))
    await cloud.said()
    cloud.put(device(twins={"b": "2"}))
    twins = (await cloud.said()).content["twin"]
    assert twins["a"]["metadata"] == {"type": "deleted"}
    assert twins["a"]["expected"]["value"] == "1"
    assert twins["b"]["metadata"] == {"type": "string"}
    cloud.put(device(twins={"b": "3"}))
    assert set((await cloud.said()).content["twin"]) == {"b"}
    cloud.node_sync.answer(NODE, Request("m", "", lambda: None))
    twins = (await cloud.said()).content["devices"][0]["twin"]
    assert twins["a"]["metadata"] == {"type": "deleted"}
    cloud.put(device(twins={"a": "4", "b": "3"}))
    assert (await cloud.said()).content["twin"]["a"]["metadata"] == {"type": "string"}
    cloud.node_sync.answer(NODE, Request("m", "", lambda: None))
    twins = (await cloud.said()).content["devices"][0]["twin"]
    assert twins["a"]["metadata"] == {"type": "string"}


def versions(twins: dict[str, Any]) -> set[int]:
    return {twin["expected_version"]["cloud"] for twin in twins.values()}


async def test_a_state_put_back_from_a_copy_has_no_version_that_the_node_refuses(
    cloud: Cloud,
) -> None:
    """An edge takes no twin whose cloud version is lower than what it has."""
    cloud.put(device(version="221"))
    await cloud.said()
    cloud.put(device(version="900", twins={"power-status": "ON"}))
    assert versions((await cloud.said()).content["twin"]) == {900}
    for _ in range(2):
        cloud.put(device(version="221"))
        assert versions((await cloud.said()).content["twin"]) == {900}
        cloud.put(device(version="222", twins={"power-status": "ON"}))
        assert versions((await cloud.said()).content["twin"]) == {900}
    cloud.node_sync.answer(NODE, Request("m", "", lambda: None))
    assert versions((await cloud.said()).content["devices"][0]["twin"]) == {900}


async def test_another_device_of_that_name_in_the_copy_is_not_refused_either(cloud: Cloud) -> None:
    cloud.put(device(version="900"))
    await cloud.said()
    cloud.inventory.remove(cloud.store.pop(key_of(device())))
    other = device(version="230", uid="another")
    cloud.store[key_of(other)] = other
    cloud.inventory.add(other)
    cloud.node_sync.answer(NODE, Request("m", "", lambda: None))
    assert versions((await cloud.said()).content["devices"][0]["twin"]) == {900}


async def test_detail_is_the_whole_truth_and_counts_as_told(cloud: Cloud) -> None:
    cloud.put(device("a"))
    cloud.put(device("b", node="other"))
    answered: list[str] = []
    cloud.node_sync.answer("other", Request("m2", "", lambda: answered.append("m2")))
    cloud.node_sync.answer(NODE, Request("m1", "123", lambda: answered.append("m1")))
    messages = {message.resource: message for message in [await cloud.said() for _ in range(4)]}
    detail = messages[f"node/{NODE}/membership/detail"]
    assert (detail.source, detail.group) == ("devicecontroller", "twin")
    assert (detail.operation, detail.parent_id) == ("response", "m1")
    assert detail.content["event_id"] == "123"
    assert [one["id"] for one in detail.content["devices"]] == ["a"]
    await cloud.quiet()
    assert sorted(answered) == ["m1", "m2"]


async def test_node_without_devices_is_told_so(cloud: Cloud) -> None:
    cloud.node_sync.answer(NODE, Request("m", "123", lambda: None))
    assert (await cloud.said()).content["devices"] == []


async def test_connected_node_that_does_not_ask_is_told(cloud: Cloud) -> None:
    cloud.node_sync.announce_later("gone", 0.01)
    cloud.node_sync.disconnected("gone")
    cloud.node_sync.announce_later(NODE, 0.02)
    message = await cloud.said()
    assert message.resource == f"node/{NODE}/membership/detail"
    assert message.parent_id == ""


async def test_restart_tells_the_difference_only(tmp_path: Path) -> None:
    path = tmp_path / "told.jsonl"
    before = Cloud(path)
    devices = {name: device(name) for name in ("kept", "changed", "moved", "removed")}
    with closing(before.record):
        task = asyncio.create_task(before.node_sync.queue.run())
        for one in devices.values():
            before.put(one)
            await before.said()
        task.cancel()
        await asyncio.wait([task])

    after = Cloud(path)
    for name, one in devices.items():
        now = {
            "changed": device(name, twins={"power-status": "ON"}),
            "moved": device(name, node="other"),
        }.get(name, one)
        if name != "removed":
            after.store[key_of(now)] = now
            after.inventory.add(now)
    with closing(after.record):
        after.node_sync.enqueue_all()
        task = asyncio.create_task(after.node_sync.queue.run())
        said = [await after.said() for _ in range(4)]
        await after.quiet()
        task.cancel()
        await asyncio.wait([task])
    told: dict[str, Callable[[Any], bool]] = {
        f"node/{NODE}/device/changed/twin/cloud_updated": lambda content: "twin" in content,
        "node/other/membership": lambda content: content["added_devices"][0]["id"] == "moved",
    }
    for resource, right in told.items():
        (message,) = [message for message in said if message.resource == resource]
        assert right(message.content)
    removed = [
        message.content["removed_devices"][0]["id"]
        for message in said
        if message.resource == f"node/{NODE}/membership"
    ]
    assert sorted(removed) == ["moved", "removed"]


async def test_unavailable_cloudhub_is_waited_for(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    send = cloud.context.send
    failures = iter([ipc.ModuleUnavailable("module 'cloudhub' is stopped")])

    async def sometimes(module: str, message: ipc.Message, timeout: float | None = None) -> None:
        for failure in failures:
            raise failure
        await send(module, message)

    monkeypatch.setattr(cloud.context, "send", sometimes)
    answered = asyncio.Event()
    cloud.node_sync.answer(NODE, Request("m", "", answered.set))
    assert (await cloud.said()).parent_id == "m"
    assert answered.is_set()


async def test_what_is_logged_says_whether_the_node_is_there(
    cloud: Cloud, caplog: pytest.LogCaptureFixture
) -> None:
    """Cloudhub drops what is for a node that is away; it is told when it connects."""
    caplog.set_level("INFO")
    events: list[tuple[Callable[[], None], str]] = [
        (lambda: None, "which is told if it is connected"),  # nothing has been said of it
        (lambda: cloud.node_sync.announce_later(NODE, 60), "which is told"),
        (
            lambda: cloud.node_sync.disconnected(NODE),
            "which is not connected, and is told when it connects",
        ),
    ]
    for happens, then in events:
        happens()
        caplog.clear()
        for change, news in ((cloud.put, "is added to"), (cloud.drop, "is gone from")):
            change(device())
            await cloud.said()
            await cloud.quiet()
            assert f"device {LED} {news} node {NODE}, {then}" in caplog.messages
