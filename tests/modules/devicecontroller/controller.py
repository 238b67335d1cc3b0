"""The whole module in this event loop, with cloudhub's end of its channel."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import ipc
from modules.common.kube import DEVICES
from modules.common.sync.connectivity import REQUEST_EXIST
from modules.common.wire.generations import tell
from modules.devicecontroller.config import DeviceControllerConfig
from modules.devicecontroller.controller import run
from supervisor.api import Settings
from tests.modules.devicecontroller.api import Api, Object
from tests.modules.devicecontroller.samples import device
from tests.support.waiting import DEADLINE


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
        async with asyncio.timeout(DEADLINE):
            while self.details.get(name) != value:
                self._reported.clear()
                await self._reported.wait()

    async def ready(self) -> None:
        async with asyncio.timeout(DEADLINE):
            waiting = asyncio.create_task(self.is_ready.wait())
            await asyncio.wait([waiting, self._task], return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
            if self._task.done():
                self._task.result()

    async def stop(self) -> None:
        self.context.stop()
        try:
            async with asyncio.timeout(DEADLINE):
                await self._task
        finally:
            for each in (self.cloudhub, self.context):
                each.close()

    async def said(self) -> ipc.Message:
        """Return the next message to cloudhub; questions about connections are answered."""
        while True:
            message = await self.cloudhub.receive(timeout=DEADLINE)
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


@asynccontextmanager
async def running(settings: Settings, **config: Any) -> AsyncIterator[Controller]:
    controller = Controller(settings, **config)
    await controller.ready()
    try:
        yield controller
    finally:
        await controller.stop()


async def quiet(api: Api, controller: Controller) -> None:
    """Check that nothing more is said: of a device created now its node is told next."""
    await api.create(DEVICES, device("marker", node="marker"))
    message = await controller.said()
    assert message.resource == "node/marker/membership", message
    await api.client.delete(DEVICES, "marker", "default")
    assert (await controller.said()).content["removed_devices"][0]["id"] == "marker"
