"""A minimal cloud for hollow edges: a websocket server that records all messages."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from picows import (
    WSFrame,
    WSListener,
    WSMsgType,
    WSTransport,
    WSUpgradeRequest,
    WSUpgradeResponse,
    WSUpgradeResponseWithListener,
    ws_create_server,
)

from ipc import Message
from modules.common.wire import generations
from modules.hollow.link import FORMS, Form
from modules.hollow.timing import Timing
from tests.support.waiting import DEADLINE

QUICK = Timing(
    heartbeat=0.1,
    node_status=30,
    pod_status=0.01,
    meta_sync=30,
    confirm=30,
    query=5,
    dial_retry=0.05,
    dial_pause=0.05,
    device=0.01,
)


class Session(WSListener):
    """The cloud's side of an edge's connection."""

    def __init__(self, cloud: Cloud) -> None:
        super().__init__()
        self._cloud = cloud
        self._decoder = cloud.form.decoder()
        self.transport: WSTransport | None = None

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.transport = transport
        self._cloud.sessions.append(self)
        self._cloud.wake()

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.CLOSE:
            transport.disconnect()
            return
        self._cloud.frames.append(frame.get_payload_as_bytes())
        for message in self._decoder.feed(frame.get_payload_as_bytes()):
            self._cloud.messages.append(message)
            self._cloud.on_message(message, self)
        self._cloud.wake()


class Cloud:
    """A cloud for edges of one generation; `on_message` may answer what they send."""

    def __init__(self, form: Form) -> None:
        self.form = form
        self.url = ""
        self.on_message: Callable[[Message, Session], None] = lambda *_: None
        self.requests: list[WSUpgradeRequest] = []
        self.sessions: list[Session] = []
        self.frames: list[bytes] = []
        self.messages: list[Message] = []
        self.refuse_with: WSUpgradeResponse | None = None
        self._changed = asyncio.Event()

    def accept(self, request: WSUpgradeRequest) -> Session | WSUpgradeResponseWithListener:
        self.requests.append(request)
        if self.refuse_with is not None:
            return WSUpgradeResponseWithListener(self.refuse_with, None)
        return Session(self)

    def wake(self) -> None:
        self._changed.set()

    def send(self, message: Message, session: Session | None = None) -> Message:
        """Send a message on a session, or on the last one."""
        self.send_raw(*self.form.encode(message), session=session)
        return message

    def send_raw(self, *parts: bytes, session: Session | None = None) -> None:
        transport = (session or self.sessions[-1]).transport
        assert transport is not None
        for part in parts:
            transport.send(self.form.frame, part)

    def send_object(self, operation: str, resource: str, content: Any) -> Message:
        return self.send(Message.build("edgecontroller", "resource", operation, resource, content))

    def send_twin(self, resource: str, content: Any) -> Message:
        return self.send(Message.build("devicecontroller", "twin", "update", resource, content))

    async def wait(self, condition: Callable[[], Any], timeout: float = DEADLINE) -> None:
        async with asyncio.timeout(timeout):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def message(
        self,
        operation: str,
        resource: str,
        *,
        skip: int = 0,
        timeout: float = DEADLINE,
        **fields: Any,
    ) -> Message:
        """Wait for the first such message of an edge (after `skip` others)."""

        def found() -> list[Message]:
            return [
                message
                for message in self.messages
                if (message.operation, message.resource) == (operation, resource)
                and all(getattr(message, name) == value for name, value in fields.items())
            ]

        await self.wait(lambda: len(found()) > skip, timeout)
        return found()[skip]


@asynccontextmanager
async def serving(
    context: ssl.SSLContext | None = None, generation: str = generations.V1_1
) -> AsyncIterator[Cloud]:
    cloud = Cloud(FORMS[generation])
    server = await ws_create_server(cloud.accept, "127.0.0.1", 0, ssl=context, use_aiofastnet=False)
    host, port = server.sockets[0].getsockname()
    cloud.url = f"{'wss' if context else 'ws'}://{host}:{port}"
    try:
        yield cloud
    finally:
        for session in cloud.sessions:
            if session.transport is not None:
                session.transport.disconnect(graceful=False)
        server.close()
        await server.wait_closed()


def captured() -> list[dict[str, Any]]:
    """Return the recorded session of a Go edge of v1.1, one dict per line."""
    path = Path(__file__).parents[2] / "data" / "captures" / "v1.1-edge.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()]
