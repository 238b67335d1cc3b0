"""The whole module in this event loop: a real API over HTTPS, real channels."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import ipc
from modules.apiserver.http.server import Server
from modules.common.crds import manifests as crds
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
from modules.common.sync.connectivity import REQUEST_EXIST
from modules.common.wire.generations import tell
from modules.devicecontroller.config import DeviceControllerConfig
from modules.devicecontroller.controller import run
from modules.devicecontroller.v1alpha1.device import (
    keep_device,
    node_of,
    twins_of,
)
from modules.hollow import manifests
from supervisor.api import Settings
from tests.modules.devicecontroller.samples import device, to_create
from tests.support.pki import copy_pki

Object = dict[str, Any]
TIMEOUT = 10.0


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
            if node := node_of(obj):
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

        async with asyncio.timeout(TIMEOUT):
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
        async with asyncio.timeout(TIMEOUT):
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


class Controller:
    """The running module, and cloudhub's end of its channel."""

    def __init__(self, settings: Settings, **config: Any) -> None:
        contexts = ipc.open_contexts(
            {"cloudhub": "cloudhub", "devicecontroller": "devicecontroller"}
        )
        self.cloudhub = contexts["cloudhub"]
        self.context: Any = contexts["devicecontroller"]
        self.details: Object = {}
        self.edges: dict[str, str] = {}
        """the generations of the edges that are connected"""
        self.is_ready = asyncio.Event()
        self.context.ready = self.is_ready.set
        self._reported = asyncio.Event()
        self.context.report = self._report
        self._task = asyncio.create_task(
            run(self.context, DeviceControllerConfig(**config), settings)
        )

    def _report(self, **details: Any) -> None:
        self.details.update(details)
        self._reported.set()

    async def detail(self, name: str, value: Any) -> None:
        """Wait until `cloudcore status` would show a detail with this value."""
        async with asyncio.timeout(TIMEOUT):
            while self.details.get(name) != value:
                self._reported.clear()
                await self._reported.wait()

    async def ready(self) -> None:
        async with asyncio.timeout(TIMEOUT):
            waiting = asyncio.create_task(self.is_ready.wait())
            await asyncio.wait([waiting, self._task], return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
            if self._task.done():
                self._task.result()

    async def stop(self) -> None:
        self.context.stop()
        async with asyncio.timeout(TIMEOUT):
            await self._task

    async def said(self) -> ipc.Message:
        """Return the next message to cloudhub; questions about connections are answered."""
        while True:
            message = await self.cloudhub.receive(timeout=TIMEOUT)
            if message.operation != REQUEST_EXIST:
                return message
            await self.cloudhub.send_resp(self._whether_connected(message))

    def _whether_connected(self, question: ipc.Message) -> ipc.Message:
        generation = self.edges.get(question.resource.removeprefix("node/"))
        if generation is None:
            return question.error("not connected", source="cloudhub")
        return question.response(tell(generation), source="cloudhub")

    async def hear(
        self,
        node: str,
        resource: str,
        content: Any,
        operation: str = "update",
        source: str = "twin",
    ) -> ipc.Message:
        """Send what comes from an edge, as cloudhub does."""
        rest = f"/{resource}" if resource else ""
        message = ipc.Message.build(source, "resource", operation, f"node/{node}{rest}", content)
        await self.cloudhub.send_to_group("devicecontroller", message)
        return message


@pytest.fixture
async def api(tmp_path: Path, pki: Pki) -> AsyncIterator[Api]:
    copy_pki(pki, tmp_path)
    api = Api(tmp_path)
    await api.start()
    async with KubeClient.connect(api.settings) as client:
        api.client = client
        yield api
    await api.stop()


@asynccontextmanager
async def running(settings: Settings, **config: Any) -> AsyncIterator[Controller]:
    controller = Controller(settings, **config)
    await controller.ready()
    try:
        yield controller
    finally:
        await controller.stop()


@pytest.fixture
async def controller(api: Api) -> AsyncIterator[Controller]:
    async with running(api.settings) as controller:
        yield controller


async def quiet(api: Api, controller: Controller) -> None:
    """Check that nothing more is said: of a device created now its node is told next."""
    await api.create(DEVICES, device("marker", node="marker"))
    message = await controller.said()
    assert message.resource == "node/marker/membership", message
    await api.client.delete(DEVICES, "marker", "default")
    assert (await controller.said()).content["removed_devices"][0]["id"] == "marker"
