"""The embedded API server, which can go away and come back."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from modules.apiserver.http.server import Server
from modules.common.crds import manifests as crds
from modules.common.device_references import selected_node
from modules.common.kube import (
    CONFIGMAPS,
    CUSTOMRESOURCEDEFINITIONS,
    DEVICES,
    EVENTS,
    NODES,
    AlreadyExists,
    KubeClient,
    NotFound,
    Resource,
)
from modules.common.pki.certificates import Pki
from modules.devicecontroller.v1alpha1.device import keep_device, twins_of
from modules.hollow import manifests
from supervisor.api import Settings
from tests.modules.devicecontroller.samples import to_create
from tests.support.pki import copy_pki
from tests.support.waiting import DEADLINE

Object = dict[str, Any]


class Api:
    """The embedded API server, which can go away and come back, and a client of it."""

    def __init__(self, data_dir: Path) -> None:
        self.settings = Settings(data_dir=data_dir, run_dir=data_dir)
        self.client: KubeClient
        self._port = 0
        self._server: Server | None = None

    async def start(self) -> None:
        listening = socket.create_server(("127.0.0.1", self._port))
        listening.setblocking(False)
        self._port = listening.getsockname()[1]
        self._server = Server(self.settings.data_dir)
        await self._server.start(listening)

    async def stop(self) -> None:
        if self._server:
            await self._server.stop()
            self._server = None

    async def create(self, resource: Resource, obj: Object) -> Object:
        """Create as `kubectl apply` does, a device on a node that is there."""
        if resource is DEVICES:
            obj = to_create(obj)
            obj = manifests.applied(obj)
            if node := selected_node(obj):
                await self.make_node(node)
        return await self.client.create(resource, to_create(obj), obj["metadata"]["namespace"])

    async def make_node(self, name: str) -> None:
        with contextlib.suppress(AlreadyExists):
            await self.client.create(NODES, manifests.node(name))

    async def set_status_subresource(self, has_one: bool) -> None:
        """Replace the CRD of devices by one with a status subresource or without."""
        definition = crds.load("devices", status_subresource=has_one)
        found = await self.client.get(CUSTOMRESOURCEDEFINITIONS, definition["metadata"]["name"])
        await self.client.replace(CUSTOMRESOURCEDEFINITIONS, {**found, "spec": definition["spec"]})

    async def desire(self, name: str, namespace: str = "default", **twins: str) -> Object:
        """Set desired values as `kubectl edit --subresource=status` would: reported ones stay."""
        found = keep_device(await self.client.get(DEVICES, name, namespace))
        former = {twin["propertyName"]: twin for twin in twins_of(found)}
        listed = [
            former.get(twin, {"propertyName": twin})
            | {"desired": {"value": value, "metadata": {"type": "string"}}}
            for twin, value in twins.items()
        ]
        patch = {"status": {"twins": listed}}
        return await self.client.patch(DEVICES, name, patch, namespace, subresource="status")

    async def profile(
        self, node: str, condition: Callable[[str | None], bool], namespace: str = "default"
    ) -> Object | None:
        """Wait until a node's profile fulfils a condition; None is passed if there is none."""

        def fulfils(configmap: Object | None) -> bool:
            return condition(configmap["data"]["deviceProfile.json"] if configmap else None)

        return await self.until(CONFIGMAPS, f"device-profile-config-{node}", namespace, fulfils)

    async def device(
        self, name: str, condition: Callable[[Object], bool], namespace: str = "default"
    ) -> Object:
        found = await self.until(
            DEVICES, name, namespace, lambda obj: obj is not None and condition(obj)
        )
        assert found
        return found

    async def event(self, reason: str, namespace: str = "default", device: str = "") -> Object:
        """Wait for an Event of a reason, about a device if one is named."""

        def fits(event: Object) -> bool:
            about = event.get("involvedObject", {}).get("name", "")
            return event.get("reason") == reason and device in ("", about)

        async with asyncio.timeout(DEADLINE):
            items, version = await self.client.list(EVENTS, namespace)
            for item in filter(fits, items):
                return item
            async for change in self.client.watch(EVENTS, namespace, resource_version=version):
                if fits(change.object):
                    return change.object
        raise AssertionError(f"no Event {reason}")

    async def until(
        self,
        resource: Resource,
        name: str,
        namespace: str,
        condition: Callable[[Object | None], bool],
    ) -> Object | None:
        async with asyncio.timeout(DEADLINE):
            while True:
                _, version = await self.client.list(resource, namespace)
                try:
                    found: Object | None = await self.client.get(resource, name, namespace)
                except NotFound:
                    found = None
                if condition(found):
                    return found
                async for change in self.client.watch(
                    resource, namespace, resource_version=version
                ):
                    if change.object["metadata"].get("name") == name:
                        break


@asynccontextmanager
async def running_api(data_dir: Path, pki: Pki) -> AsyncIterator[Api]:
    """Start an API server, and connect its client."""
    copy_pki(pki, data_dir)
    api = Api(data_dir)
    await api.start()
    async with KubeClient.connect(api.settings) as client:
        api.client = client
        yield api
    await api.stop()
