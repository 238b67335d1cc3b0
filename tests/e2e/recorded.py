"""An edge that says, byte for byte, what a recorded one said."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ipc import Message
from modules.common.wire.packed import Decoder

CAPTURE = Path(__file__).parents[1] / "data" / "captures" / "v1.1-edge.jsonl"
_BINARY, _PONG = 0x02, 0x0A


@dataclass(frozen=True)
class Line:
    """One line of the recording that says something: a frame, or what a frame completed."""

    connection: int
    from_edge: bool
    payload: bytes
    message: dict[str, Any] | None

    @property
    def kind(self) -> tuple[str, str, str, str] | None:
        """Source, group, operation and resource, if this frame completes a message."""
        if self.message is None:
            return None
        route = self.message["route"]
        return route["source"], route["group"], route["operation"], route["resource"]


def frames() -> list[Line]:
    lines = [json.loads(line) for line in CAPTURE.read_text().splitlines()]
    return [
        Line(
            line["conn"],
            line["dir"] == "edge->cloud",
            base64.b64decode(line["frame"]["b64"]),
            line.get("message"),
        )
        for line in lines
        if "frame" in line
    ]


def handshake(connection: int) -> tuple[list[str], list[str]]:
    """The request of the recorded edge and the answer of the recorded cloud, as header lines."""
    lines = [json.loads(line) for line in CAPTURE.read_text().splitlines()]
    request, response = (
        line["http"] for line in lines if line["conn"] == connection and "http" in line
    )
    return request, response


class RecordedEdge:
    """A raw websocket connection, which knows nothing of messages but to read the cloud's."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.received: list[Message] = []
        self.response: list[str] = []
        self._reader = reader
        self._writer = writer
        self._decoder = Decoder()
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @classmethod
    async def connect(cls, port: int, tls: ssl.SSLContext, request: list[str]) -> RecordedEdge:
        """Connect and send the recorded request; only its Host names another port."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls)
        lines = [f"Host: 127.0.0.1:{port}" if h.startswith("Host:") else h for h in request]
        writer.write("\r\n".join([*lines, "", ""]).encode())
        edge = cls(reader, writer)
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
        edge.response = head.decode().split("\r\n")[:-2]
        edge._task = asyncio.create_task(edge._read())
        return edge

    @property
    def closed(self) -> bool:
        return self._task is None or self._task.done()

    def send(self, payload: bytes, opcode: int = _BINARY) -> None:
        """Write one masked frame; the mask is the only thing that is not recorded."""
        mask = b"\x11\x22\x33\x44"
        size = len(payload)
        length = struct.pack(">B", 0x80 | size) if size < 126 else struct.pack(">BH", 0xFE, size)
        masked = bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))
        self._writer.write(bytes([0x80 | opcode]) + length + mask + masked)

    async def wait(self, wanted: Callable[[Message], bool], what: str) -> Message:
        """The first message from the cloud that fits, now or within 15 s."""
        try:
            async with asyncio.timeout(15):
                while True:
                    for message in self.received:
                        if wanted(message):
                            self.received.remove(message)
                            return message
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            had = [
                (message.source, message.operation, message.resource) for message in self.received
            ]
            raise AssertionError(f"no {what} came, but {had}; closed: {self.closed}") from None

    async def close(self) -> None:
        self._writer.close()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _read(self) -> None:
        while True:
            first, second = await self._reader.readexactly(2)
            size = second & 0x7F
            if size == 126:
                (size,) = struct.unpack(">H", await self._reader.readexactly(2))
            elif size == 127:
                (size,) = struct.unpack(">Q", await self._reader.readexactly(8))
            payload = await self._reader.readexactly(size)
            match first & 0x0F:
                case 0x00 | 0x01 | 0x02:
                    self.received += self._decoder.feed(payload)
                    self._news.set()
                case 0x08:  # close
                    return
                case 0x09:  # ping
                    self.send(payload, _PONG)
