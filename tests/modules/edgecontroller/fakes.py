"""An edge controller in this process between an API and a cloudhub that are the test's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

from ipc import Message, MessageTooLarge
from modules.common.kube import NODES, PODS, KubeClient, Resource, check, shape_of
from modules.common.sync.record import Record
from modules.common.wire.generations import tell
from modules.edgecontroller.config import EdgeControllerConfig
from modules.edgecontroller.controller import Controller
from modules.edgecontroller.downstream.state import LISTED
from modules.edgecontroller.messages import INSERT, PODLIST, UPDATE
from modules.edgecontroller.objects import RESOURCES
from tests.support.bench import ControllerBench
from tests.support.deliveries import Taken
from tests.support.fakekube import FakeKube

from .objects import NODE, Json, node

_LISTS = {**LISTED, PODLIST: "pod"}


class Context:
    """A module's context whose cloudhub takes everything."""

    def __init__(self) -> None:
        self.inbox: asyncio.Queue[Taken] = asyncio.Queue()
        self.sent: list[Message] = []
        self.is_ready = asyncio.Event()
        self.take = self.inbox.get
        self.details: Json = {}
        self.most = 1000
        """objects of a list that a message carries"""

    async def send(self, module: str, message: Message, timeout: float | None = None) -> None:
        if isinstance(message.content, list) and len(message.content) > self.most:
            raise MessageTooLarge
        self.sent.append(message)

    async def send_resp(self, message: Message, timeout: float | None = None) -> None:
        self.sent.append(message)

    async def send_to_group(
        self, group: str, message: Message, timeout: float | None = None
    ) -> None:
        self.sent.append(message)

    async def send_sync(
        self, module: str, message: Message, timeout: float | None = None
    ) -> Message:
        return message.response()

    def ready(self) -> None:
        self.is_ready.set()

    def report(self, **details: Any) -> None:
        self.details.update(details)


class Bench(ControllerBench):
    """A running controller; NODE is connected."""

    def __init__(self, directory: Path) -> None:
        self.api, self.context = FakeKube("edgecontroller"), Context()
        self.api.lists[NODES.plural].append(node(NODE) | {"metadata": _node_metadata()})
        self.record = Record(directory / "told.jsonl")
        self.controller = Controller(
            EdgeControllerConfig(),
            "",
            cast("KubeClient", self.api),
            self.record,
            cast("Any", self.context),
        )
        task = asyncio.create_task(self.controller.run())
        super().__init__(task, self.context.inbox, self.context.is_ready)

    def feed(self, resource: Resource, obj: Any, type_: str = "ADDED") -> None:
        self.api.feed(resource, obj, type_)

    async def settle(self) -> None:
        """Let the controller do all that it can do at once."""
        due, upstream = self.controller._state.due, self.controller._upstream
        await self.settle_while(lambda: bool(len(due) or upstream.pending))

    def told(self) -> dict[str, Message]:
        """Take what has been sent since, by resource; an edge could decode all of it."""
        for message in self.context.sent:
            if message.operation not in (INSERT, UPDATE):
                continue
            kind = message.resource.split("/")[3]
            of_list = kind in _LISTS
            resource = RESOURCES[_LISTS.get(kind, kind)]
            for obj in message.content if of_list else [message.content]:
                check(obj, shape_of(resource))
        found = {message.resource: message for message in self.context.sent}
        self.context.sent.clear()
        return found


def _node_metadata() -> Json:
    return {"name": NODE, "uid": "u-node", "resourceVersion": "1"}


@asynccontextmanager
async def running(directory: Path, *pods: Any, generation: str = "") -> AsyncIterator[Bench]:
    """Run a controller; `pods` are what there is when it starts."""
    directory.mkdir(exist_ok=True)
    bench = Bench(directory)
    bench.api.lists[PODS.plural].extend(pods)
    await bench.ready()
    content = tell(generation)
    bench.hear(Message.build("cloudhub", "resource", "connected", f"node/{NODE}", content))
    await bench.settle()
    try:
        yield bench
    finally:
        bench.task.cancel()
        await asyncio.wait([bench.task])
        bench.record.close()
