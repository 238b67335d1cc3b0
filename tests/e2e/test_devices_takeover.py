"""Devices of a fleet that moves from one cloudcore to another and back.

As test_takeover.py, which has the other objects: what has changed while nobody served is sent, and
nothing that an edge has acknowledged to the other cloudcore, although reports and conditions change
the versions of devices meanwhile; `cloudcore takeover check` has said so before. An edge of
KubeEdge 1.1 among them, whose devices are of v1alpha1, asks for its devices and gets them all.
"""

from __future__ import annotations

from collections import Counter
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest

from modules.common.kube import (
    DEVICEMODELS,
    DEVICEMODELS_V1BETA1,
    DEVICES,
    DEVICES_V1BETA1,
    DEVICESTATUSES,
    NODES,
    OBJECTSYNCS,
    KubeClient,
)
from modules.common.sync.sync_form import read_sync
from modules.hollow import manifests
from modules.hollow.demo import observe
from modules.hollow.demo.harness import Cloudcore, running
from modules.hollow.edge import HollowEdge
from modules.takeover.check.difference import DEVICE_KINDS
from tests.support.waiting import eventually

from .test_takeover import Move, Sent, serving
from .test_todays_devices import told

Json = dict[str, Any]

FLEET: Final = {"changed": "1.23", "deleted": "1.20", "remodelled": "1.22", "untouched": "1.19"}
#: An edge of 1.1 among them, and its device.
OLD: Final = "old"
OLD_DEVICE: Final = "d-old"
RECORD: Final = ("--set", 'modules.devicecontroller.record="objectsync"')


class DevicesMove(Move):
    """The cluster, and edges with two devices each: one for the test, and one as a marker."""

    kinds = DEVICE_KINDS

    async def join(self, stack: AsyncExitStack, cloudcore: Cloudcore) -> None:
        await self.api.create(NODES, manifests.node(OLD))  # the others register themselves
        await self.connect(stack, cloudcore, FLEET | {OLD: "1.1"})
        await self.api.create(DEVICEMODELS, manifests.device_model(), "default")
        device = manifests.applied(manifests.device(OLD_DEVICE, OLD, "0"))
        await self.api.create(DEVICES, device, "default")
        for name in FLEET:
            model = manifests.device_model_v1beta1(f"m-{name}")
            await self.api.create(DEVICEMODELS_V1BETA1, model, "default")
            for prefix in ("d", "end"):
                device = manifests.device_v1beta1(f"{prefix}-{name}", name, "0", model=f"m-{name}")
                await self.api.create(DEVICES_V1BETA1, device, "default")
        for name in FLEET:
            await observe.in_api(self.api, DEVICESTATUSES, f"d-{name}", "default", _has_reported)
        await self.old_has("0")

    async def acknowledged(self) -> None:
        """Wait until ObjectSyncs have the present versions of all devices, and of their models."""
        await eventually(self._compared, lambda found: found[0] == found[1])

    async def _compared(self) -> tuple[dict[str, str], dict[str, str]]:
        devices = (await self.api.list(DEVICES_V1BETA1, "default")).items
        models = (await self.api.list(DEVICEMODELS_V1BETA1, "default")).items
        present = {
            f"{obj['metadata']['name'].partition('-')[2]}.{obj['metadata']['uid']}": obj[
                "metadata"
            ]["resourceVersion"]
            for obj in (*devices, *models)
            if obj["metadata"]["name"] not in {OLD_DEVICE, manifests.LED}
        }
        return present, await self._recorded()

    async def _recorded(self) -> dict[str, str]:
        page = await self.api.list(OBJECTSYNCS, "default")
        syncs = [sync for obj in page.items if (sync := read_sync(obj))]
        return {
            f"{sync.node}.{sync.uid}": sync.version
            for sync in syncs
            if sync.kind in {"Device", "DeviceModel"}
        }

    async def desire(self, name: str, value: str) -> None:
        edge = name.partition("-")[2]
        device = manifests.device_v1beta1(name, edge, value, model=f"m-{edge}")
        await self.api.patch(DEVICES_V1BETA1, name, {"spec": device["spec"]}, "default")

    async def desire_of_old(self, value: str) -> None:
        status = {"status": manifests.device(OLD_DEVICE, OLD, value)["status"]}
        await self.api.patch(DEVICES, OLD_DEVICE, status, "default", subresource="status")

    async def old_has(self, value: str) -> None:
        """Wait until the edge of 1.1 has done what is desired, and the API knows that it has."""
        await self.edges[OLD].wait_connected(30)
        await observe.in_api(
            self.api,
            DEVICES,
            OLD_DEVICE,
            "default",
            lambda found: found["status"]["twins"][0]["reported"].get("value") == value,
        )
        assert list(self.edges[OLD].devices) == [OLD_DEVICE]

    async def is_predicted(self, expected: dict[str, Sent]) -> None:
        """Compare what `cloudcore takeover check` says with what is to be sent."""
        for name, change in (await self.predicted()).items():
            sent: Sent = Counter()
            for operation, counts in (
                ("insert", change.inserts),
                ("update", change.updates),
                ("delete", change.deletes),
            ):
                sent += Counter({(operation, type_): count for type_, count in counts.items()})
            assert sent == _by_type(expected.get(name, Counter())), name

    async def sends(self, expected: dict[str, Sent]) -> None:
        """Change the markers: when they have arrived, nothing else was sent than is expected."""
        self._rounds += 1
        for name, edge in self._of_today.items():
            await edge.wait_connected(30)
            end = f"round {self._rounds}"
            await self.desire(f"end-{name}", end)
            await edge.wait_for(f"default/device/end-{name}", _desires(end), 30)
            marker = Counter({("update", f"default/device/end-{name}"): 1})
            expected[name] = expected.get(name, Counter()) + marker
        for name, edge in self._of_today.items():
            has_all = partial(_has_been_sent, edge, expected[name])
            await edge.wait_until(has_all, 30, "what it lacks")
        assert {name: _sent(edge) for name, edge in self._of_today.items()} == expected
        assert not any(resource.startswith("default/") for _, resource in _sent(self.edges[OLD]))

    @property
    def _of_today(self) -> dict[str, HollowEdge]:
        return {name: self.edges[name] for name in FLEET}


def _sent(edge: HollowEdge) -> Sent:
    """Return the objects that an edge was sent; its list may come as the answer to its question."""
    return Counter(
        (message.operation, message.resource)
        for message in told(edge)
        if message.resource != "membership"
    )


def _by_type(sent: Sent) -> Sent:
    found: Sent = Counter()
    for (operation, resource), count in sent.items():
        found[operation, resource.split("/")[1]] += count
    return found


def _has_been_sent(edge: HollowEdge, expected: Sent) -> bool:
    return expected <= _sent(edge)


def _has_reported(status: Any) -> bool:
    return bool(status["status"]["twins"][0]["reported"]["value"] == "0")


def _desires(value: str) -> Any:
    return lambda device: device["spec"]["properties"][0]["desired"]["value"] == value


async def there(move: DevicesMove) -> dict[str, Sent]:
    await move.desire("d-changed", "1")
    await move.desire_of_old("1")
    await move.api.delete(DEVICES_V1BETA1, "d-deleted", "default")
    model = manifests.device_model_v1beta1("m-remodelled", "V")
    await move.api.patch(DEVICEMODELS_V1BETA1, "m-remodelled", {"spec": model["spec"]}, "default")
    return {
        "changed": Counter({("update", "default/device/d-changed"): 1}),
        "deleted": Counter({("delete", "default/device/d-deleted"): 1}),
        "remodelled": Counter({("update", "default/devicemodel/m-remodelled"): 1}),
    }


async def back(move: DevicesMove) -> dict[str, Sent]:
    made = manifests.device_v1beta1("d-deleted", "deleted", "2", model="m-deleted")
    await move.desire_of_old("2")
    await move.api.create(DEVICES_V1BETA1, made, "default")
    return {"deleted": Counter({("insert", "default/device/d-deleted"): 1})}


async def without_changes(_: DevicesMove) -> dict[str, Sent]:
    return {}


@pytest.mark.timeout(300)
async def test_devices_are_told_once(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        cluster = await stack.enter_async_context(running("--set", 'modules.enabled=["apiserver"]'))
        await cluster.wait_ready(30)
        api = await stack.enter_async_context(KubeClient.connect(cluster.settings))
        move = DevicesMove(api, str(cluster.settings.data_dir / "kubeconfig"))
        move.options = (*move.options, *RECORD)
        ours, theirs = tmp_path / "first", tmp_path / "second"
        async with serving(move, ours) as first:
            await move.join(stack, first)
            await move.acknowledged()
        for cloud, change, value in (
            (theirs, there, "1"),
            (ours, back, "2"),
            (theirs, without_changes, "2"),
        ):
            move.forget()
            expected = await change(move)
            await move.is_predicted(expected)
            async with serving(move, cloud):
                await move.sends(expected)
                await move.old_has(value)
                await move.acknowledged()
