"""A running hub, and the two controllers' ends of the channels."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from ipc import AsyncContext, Message
from modules.cloudhub.hub import Hub

PROJECT = "e632aba927ea4ac2b575ec1603d56f10"
DEADLINE = 20.0


class HubContext(AsyncContext):
    """A module's context, as far as the hub uses it."""

    def __init__(self, registry: Any, name: str) -> None:
        super().__init__(registry, name)
        self.is_ready = asyncio.Event()
        self.details: dict[str, Any] = {}

    def ready(self) -> None:
        self.is_ready.set()

    def report(self, **details: Any) -> None:
        self.details.update(details)


class Cloud:
    """A running hub, and the two controllers' ends of the channels."""

    def __init__(self, hub: Hub, context: HubContext, port: int, others: dict[str, AsyncContext]):
        self.hub = hub
        self.context = context
        self.port = port
        self.edgecontroller = others["edgecontroller"]
        self.devicecontroller = others["devicecontroller"]

    async def next(self, *, device: bool = False) -> Message:
        """Return the next message to a controller; `device` skips connected and disconnected."""
        if not device:
            return await self.edgecontroller.receive(DEADLINE)
        while True:
            message = await self.devicecontroller.receive(DEADLINE)
            if message.operation not in {"connected", "disconnected"}:
                return message

    async def expect(self, node: str, operation: str) -> Message:
        """Assert that the next message is this operation (connected, ...) about the node."""
        message = await self.next()
        assert (message.resource, message.operation) == (f"node/{node}", operation)
        return message

    async def send(self, node: str, resource: str, operation: str = "update", **more: Any) -> str:
        route = {"source": "edgecontroller", "group": "resource", "content": {"n": 1}, **more}
        message = Message.build(
            route["source"],
            route["group"],
            operation,
            f"node/{node}/{resource}",
            route["content"],
        )
        await self.edgecontroller.send("cloudhub", message, DEADLINE)
        return message.id


Join = Callable[..., Any]
