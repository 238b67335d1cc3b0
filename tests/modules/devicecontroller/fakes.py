"""A device controller in this process between an API and a cloudhub that are the test's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import ipc
from modules.common.kube import DEVICES, NODES, Key, KubeClient
from modules.common.sync.record import Record
from modules.devicecontroller.config import DeviceControllerConfig
from modules.devicecontroller.controller import Controller
from modules.devicecontroller.dependencies import Dependencies
from modules.devicecontroller.v1alpha1.sync.record import SyncRecord
from supervisor.api import Settings
from tests.modules.devicecontroller.samples import NODE
from tests.support.aside import make_set_aside
from tests.support.bench import ControllerBench
from tests.support.deliveries import Taken
from tests.support.fakekube import FakeKube

Object = dict[str, Any]


class Context:
    """A module's context whose cloudhub takes everything."""

    def __init__(self) -> None:
        self.inbox: asyncio.Queue[Taken] = asyncio.Queue()
        self.sent: list[ipc.Message] = []
        self.is_ready = asyncio.Event()
        self.is_stopping = asyncio.Event()
        self.take = self.inbox.get
        self.stopped = self.is_stopping.wait
        self.ready = self.is_ready.set

    async def send(self, module: str, message: ipc.Message, timeout: float | None = None) -> None:
        ipc.message.encode(message)
        self.sent.append(message)

    def report(self, **details: Any) -> None:
        pass


class Bench(ControllerBench):
    """A running controller that knows NODE."""

    def __init__(self, directory: Path, records: tuple[SyncRecord, Record]) -> None:
        self.api, self.context = FakeKube("devicecontroller"), Context()
        metadata = {"name": NODE, "uid": "u-node", "resourceVersion": "1"}
        self.api.lists[NODES.plural].append({"metadata": metadata})
        self.controller = Controller(
            cast("Any", self.context),
            DeviceControllerConfig(),
            Settings(directory, directory),
            cast("KubeClient", self.api),
            records,
        )
        task = asyncio.create_task(self.controller.run())
        super().__init__(task, self.context.inbox, self.context.is_ready)

    async def settle(self) -> None:
        """Let the controller do all that it can do at once."""
        down = self.controller.alpha
        busy = (down.node_sync, down._profile_writer, down._acceptance, down.writer)
        queues = [each.queue for each in busy]
        await self.settle_while(lambda: any(map(len, queues)))

    def told(self) -> list[ipc.Message]:
        """Take what has been sent since."""
        sent = list(self.context.sent)
        self.context.sent.clear()
        return sent

    def condition(self, name: str) -> Object:
        """Return the condition of a device as it was written last."""
        conditions: list[Object] = [
            patch["status"]["conditions"][-1]
            for plural, about, patch in self.api.patches
            if (plural, about) == (DEVICES.plural, name) and "conditions" in patch["status"]
        ]
        return conditions[-1]


@asynccontextmanager
async def running(directory: Path, *devices: Any) -> AsyncIterator[Bench]:
    """Run a controller; `devices` are what there is when it starts."""
    with (
        closing(SyncRecord(directory / "told.jsonl")) as told,
        closing(Record(directory / "delivered.jsonl")) as delivered,
    ):
        bench = Bench(directory, (told, delivered))
        bench.api.lists[DEVICES.plural].extend(devices)
        await bench.ready()
        await bench.settle()
        try:
            yield bench
        finally:
            bench.context.is_stopping.set()
            await asyncio.wait([bench.task])


def dependencies(world: Any, nodes: dict[Key, Object]) -> Dependencies:
    """Return what devices are served with, of a world that is both the API and the context."""
    definitions = SimpleNamespace(
        has_device_statuses=lambda: True, is_v1beta1_alone=lambda: True, explain=None
    )
    return Dependencies(
        world,
        world,
        namespace=None,
        definitions=cast("Any", definitions),
        set_aside=make_set_aside(),
        known_nodes=nodes,
        on_change=lambda: None,
    )
