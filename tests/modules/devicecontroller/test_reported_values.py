"""Writing reported values: nobody else's write is undone, with and without a subresource."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from modules.common.kube import (
    DEVICES,
    LEASES,
    Invalid,
    NotFound,
    TooLarge,
    Unreachable,
    key_of,
)
from modules.common.replicas.holdings import Claim
from modules.common.replicas.leases import of_claim
from modules.common.replicas.report_fence import ReportFence
from modules.devicecontroller.status.report_queue import Origin
from modules.devicecontroller.status.status_patch import StatusPatcher
from modules.devicecontroller.v1alpha1.device import keep_device
from modules.devicecontroller.v1alpha1.reported_values import StatusWriter
from modules.devicecontroller.v1alpha1.sync.inventory import DeviceSlot, Inventory
from modules.devicecontroller.v1alpha1.twin import TwinReport
from supervisor.api import ReplicasSettings
from tests.modules.devicecontroller.api import Api
from tests.modules.devicecontroller.samples import LED, NODE, device
from tests.support.aside import Events, make_set_aside
from tests.support.waiting import DEADLINE, until

HERE = DeviceSlot(NODE, LED)


class Client:
    """The API's client; notes what is patched, and refuses it for a reason of the test's own."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self.patched: list[str] = []
        self.refusals: list[Exception] = []

    async def get(self, *args: Any) -> dict[str, Any]:
        return await self._api.client.get(*args)

    async def patch(
        self, resource: Any, name: str, patch: dict[str, Any], namespace: str, subresource: str = ""
    ) -> dict[str, Any]:
        self.patched.append(subresource)
        if self.refusals:
            raise self.refusals.pop()
        return await self._api.client.patch(
            resource, name, patch, namespace, subresource=subresource
        )


@asynccontextmanager
async def writing(
    client: Any,
    *devices: dict[str, Any],
    events: Events | None = None,
    fence: ReportFence | None = None,
) -> AsyncIterator[StatusWriter]:
    """A status writer that knows these devices, however old."""
    inventory = Inventory({key_of(one): keep_device(one) for one in devices}, {}, {})
    for one in devices:
        inventory.add(keep_device(one))
    writer = StatusWriter(
        StatusPatcher(client, DEVICES, keep_device, fence=fence), inventory, make_set_aside(events)
    )
    task = asyncio.create_task(writer.queue.run(2))
    yield writer
    writer.queue.stop()
    task.cancel()
    await asyncio.wait([task])


async def written(writer: StatusWriter, **values: str) -> None:
    """Write reported values of the led light and wait until that is done."""
    finished = asyncio.Event()

    async def done() -> None:
        finished.set()

    reports = {name: TwinReport(value, 5, "string", 1) for name, value in values.items()}
    writer.write(HERE, reports, Origin(NODE, done, pytest.fail))
    async with asyncio.timeout(DEADLINE):
        await finished.wait()


async def twins(api: Api) -> dict[str, tuple[str | None, str | None]]:
    """(desired, reported) by property."""
    found = await api.client.get(DEVICES, LED, "default")
    return {
        twin["propertyName"]: (
            twin.get("desired", {}).get("value"),
            twin.get("reported", {}).get("value"),
        )
        for twin in found["status"]["twins"]
    }


async def test_desired_value_set_meanwhile_stays(api: Api) -> None:
    stale = await api.create(DEVICES, device(twins={"a": "1", "b": "1"}))
    await api.desire(LED, a="2", b="1", c="3")
    async with writing(api.client, stale) as writer:
        await written(writer, a="reported")
    assert await twins(api) == {"a": ("2", "reported"), "b": ("1", None), "c": ("3", None)}


async def test_what_waits_for_a_device_is_not_written_into_its_successor(api: Api) -> None:
    """The device is deleted, and another one of its name made, while a write of it fails."""
    created = await api.create(DEVICES, device(twins={"a": "1"}))
    client = Client(api)
    async with writing(client, created) as writer:
        inventory, former = writer._inventory, keep_device(created)

        async def fail(*_: Any, **__: Any) -> Any:
            del client.patch  # the next one goes to the API
            inventory.remove(former)
            writer.forget(HERE)
            successor = former | {"metadata": former["metadata"] | {"uid": "another"}}
            inventory.devices[key_of(successor)] = successor
            inventory.add(successor)
            raise Unreachable("no answer")

        client.patch = fail  # type: ignore[method-assign]
        writer.adopt(HERE, {"a": {"value": "2", "metadata": {"type": "string"}}})
        await until(lambda: not len(writer.queue))
    assert client.patched == []
    assert "status" not in await api.client.get(DEVICES, LED, "default")


async def test_status_subresource_is_kept_to(api: Api) -> None:
    created = await api.create(DEVICES, device(twins={"a": "1"}))
    client = Client(api)
    async with writing(client, created) as writer:
        await written(writer, a="x")
        assert await twins(api) == {"a": ("1", "x")}
        await written(writer, a="y")
        assert await twins(api) == {"a": ("1", "y")}
    assert client.patched == ["status", "status", "status"]  # the second is a Conflict


async def test_crd_without_a_status_subresource_is_found_out(api: Api) -> None:
    await api.set_status_subresource(False)
    created = await api.create(DEVICES, device(twins={"a": "1"}))
    client = Client(api)
    async with writing(client, created) as writer:
        await written(writer, a="x")
        assert await twins(api) == {"a": ("1", "x")}
        await written(writer, a="y")
        assert await twins(api) == {"a": ("1", "y")}
    assert client.patched == ["status", "", "", ""]  # the third is a Conflict


async def test_crd_that_changes_while_it_is_used(api: Api) -> None:
    created = await api.create(DEVICES, device(twins={"a": "1"}))
    async with writing(api.client, created) as writer:
        for number, has_one in enumerate((True, False, True)):
            await api.set_status_subresource(has_one)
            await written(writer, a=f"x{number}")
            assert await twins(api) == {"a": ("1", f"x{number}")}


async def test_property_that_is_dropped_meanwhile_stays_dropped(api: Api) -> None:
    stale = await api.create(DEVICES, device(twins={"a": "1", "b": "1"}))
    await api.desire(LED, b="1")
    async with writing(api.client, stale) as writer:
        await written(writer, a="reported")
    assert await twins(api) == {"b": ("1", None)}


async def test_device_that_is_gone(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    created = await api.create(DEVICES, device(twins={"a": "1"}))
    await api.client.delete(DEVICES, LED, "default")
    async with writing(api.client, created) as writer:
        with caplog.at_level("INFO"):
            await written(writer, a="x")
    assert f"default/{LED}: deleted before" in caplog.text


@pytest.mark.parametrize(
    "refusal",
    [
        Invalid(422, "Invalid", "status.twins[0]: no"),
        TooLarge(500, "TooLarge", "etcdserver: request is too large"),
    ],
)
async def test_refused_value_is_dropped_and_told_once(
    api: Api, caplog: pytest.LogCaptureFixture, refusal: Invalid
) -> None:
    created = await api.create(DEVICES, device(twins={"a": "1"}))
    client, events = Client(api), Events()
    client.refusals = [refusal, refusal]
    async with writing(client, created, events=events) as writer:
        with caplog.at_level("INFO"):
            await written(writer, a="x")
            await written(writer, a="x")
            await written(writer, a="y")
    name = f"the status of device default/{LED}"
    assert [line for line in caplog.messages if name in line] == [
        f"cannot use {name}: {refusal}; it is set aside until it is changed",
        f"{name} is used again",
    ]
    assert [(about["name"], *rest) for about, *rest in events.written] == [
        (LED, "InvalidObject", f"its status is set aside: {refusal}")
    ]
    assert await twins(api) == {"a": ("1", "y")}


async def test_done_that_fails_is_tried_again(api: Api) -> None:
    created = await api.create(DEVICES, device(twins={"a": "1"}))
    finished = asyncio.Event()
    attempts = []

    async def done() -> None:
        attempts.append(1)
        if len(attempts) == 1:
            raise NotFound(404, "NotFound", "not yet")
        finished.set()

    async with writing(api.client, created) as writer:
        writer.write(HERE, {"a": TwinReport("x", 5, None, 1)}, Origin(NODE, done, pytest.fail))
        async with asyncio.timeout(DEADLINE):
            await finished.wait()
    assert len(attempts) == 2


async def test_of_a_node_of_another_replica_what_is_applied_is_written_alone(api: Api) -> None:
    created = await api.create(DEVICES, device(twins={"a": "1", "b": "1"}))
    await api.client.create(LEASES, of_claim(NODE, Claim("other", 1, "")), "default")
    dropped: list[str] = []
    replicas = ReplicasSettings(enabled=True, name="this", namespace="default")
    fence = ReportFence(api.client, replicas)

    async def confirm() -> None:
        pytest.fail("it is not written")

    async with writing(api.client, created, fence=fence) as writer:
        reports = {"a": TwinReport("late", 5, "string", 1)}
        writer.write(HERE, reports, Origin(NODE, confirm, lambda: dropped.append("late")))
        writer.restore(HERE, {"b": {"value": "removed"}})
        writer.adopt(HERE, {"b": {"value": "2", "metadata": {"type": "string"}}})
        await until(lambda: dropped and not len(writer.queue))
    assert await twins(api) == {"a": ("1", None), "b": ("2", None)}
