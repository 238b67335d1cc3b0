"""Devices of v1beta1 of a fleet that moves from one cloudcore to another and back.

As test_takeover.py, which has the other objects: what has changed while nobody served is sent, and
nothing that an edge has acknowledged to the other cloudcore, although reports and conditions change
the versions of devices meanwhile.
"""

from __future__ import annotations

from collections import Counter
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest

from modules.common.kube import (
    DEVICEMODELS_V1BETA1,
    DEVICES_V1BETA1,
    DEVICESTATUSES,
    OBJECTSYNCS,
    KubeClient,
)
from modules.common.sync.object_syncs import read_sync
from modules.hollow import manifests
from modules.hollow.demo import observe
from modules.hollow.demo.harness import Cloudcore, running
from modules.hollow.edge import HollowEdge
from tests.support.waiting import eventually

from .test_takeover import Move, Sent, serving
from .test_todays_devices import told

Json = dict[str, Any]

FLEET: Final = {"changed": "1.23", "deleted": "1.20", "remodelled": "1.22", "untouched": "1.19"}
RECORD: Final = ("--set", 'modules.devicecontroller.record="objectsync"')


class DevicesMove(Move):
    """The cluster, and edges with two devices each: one for the test, and one as a marker."""

    async def join(self, stack: AsyncExitStack, cloudcore: Cloudcore) -> None:
        await self.connect(stack, cloudcore, FLEET)
        for name in FLEET:
            model = manifests.device_model_v1beta1(f"m-{name}")
            await self.api.create(DEVICEMODELS_V1BETA1, model, "default")
            for prefix in ("d", "end"):
                device = manifests.device_v1beta1(f"{prefix}-{name}", name, "0", model=f"m-{name}")
                await self.api.create(DEVICES_V1BETA1, device, "default")
        for name in FLEET:
            await observe.in_api(self.api, DEVICESTATUSES, f"d-{name}", "default", _has_reported)

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

    async def sends(self, expected: dict[str, Sent]) -> None:
        """Change the markers: when they have arrived, nothing else was sent than is expected."""
        self._rounds += 1
        for name, edge in self.edges.items():
            await edge.wait_connected(30)
            end = f"round {self._rounds}"
            await self.desire(f"end-{name}", end)
            await edge.wait_for(f"default/device/end-{name}", _desires(end), 30)
            marker = Counter({("update", f"default/device/end-{name}"): 1})
            expected[name] = expected.get(name, Counter()) + marker
        for name, edge in self.edges.items():
            has_all = partial(_has_been_sent, edge, expected[name])
            await edge.wait_until(has_all, 30, "what it lacks")
        assert {name: _sent(edge) for name, edge in self.edges.items()} == expected


def _sent(edge: HollowEdge) -> Sent:
    """Return the objects that an edge was sent; its list may come as the answer to its question."""
    return Counter(
        (message.operation, message.resource)
        for message in told(edge)
        if message.resource != "membership"
    )


def _has_been_sent(edge: HollowEdge, expected: Sent) -> bool:
    return expected <= _sent(edge)


def _has_reported(status: Any) -> bool:
    return bool(status["status"]["twins"][0]["reported"]["value"] == "0")


def _desires(value: str) -> Any:
    return lambda device: device["spec"]["properties"][0]["desired"]["value"] == value


async def there(move: DevicesMove) -> dict[str, Sent]:
    await move.desire("d-changed", "1")
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
        for cloud, change in ((theirs, there), (ours, back), (theirs, without_changes)):
            move.forget()
            expected = await change(move)
            async with serving(move, cloud):
                await move.sends(expected)
                await move.acknowledged()
