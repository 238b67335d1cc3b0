"""An edge that is only a TLS connection, over which a test sends any bytes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
import struct

from ipc import Message
from modules.common.wire import json_form, packed

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
CONTINUATION = 0
DEADLINE = 20.0


def frame(payload: bytes, kind: int = BINARY, *, fin: bool = True, reserved: int = 0) -> bytes:
    """Return a masked frame, as a client sends it (RFC 6455, 5.2)."""
    first = bytes([fin << 7 | reserved << 4 | kind])
    size = len(payload)
    if size < 126:
        length = bytes([0x80 | size])
    elif size < 1 << 16:
        length = struct.pack(">BH", 0x80 | 126, size)
    else:
        length = struct.pack(">BQ", 0x80 | 127, size)
    mask = os.urandom(4)
    stream = int.from_bytes((mask * (size // 4 + 1))[:size], "big") ^ int.from_bytes(payload, "big")
    return first + length + mask + stream.to_bytes(size, "big")


class Edge:
    """A websocket client's connection that sends nothing by itself; in JSON if it is of today."""

    def __init__(self, *, today: bool = False) -> None:
        self._decoder = json_form.Decoder() if today else packed.Decoder()
        self._encode = json_form.encode if today else packed.encode
        self._opcode = TEXT if today else BINARY
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter | None = None

    async def connect(
        self, port: int, tls: ssl.SSLContext | None, path: str, headers: dict[str, str]
    ) -> str:
        """Send the request; return the status line, with the body if it is refused."""
        await self.open(port, tls)
        return await self.request(path, headers)

    async def request(self, path: str, headers: dict[str, str]) -> str:
        request = {
            "Host": "127.0.0.1",
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "0M1V1XqlDy0UAeXx9IYuGA==",
            **headers,
        }
        lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in request.items())]
        self.write(("\r\n".join(lines) + "\r\n\r\n").encode())
        async with asyncio.timeout(DEADLINE):
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode()
            status = head.splitlines()[0]
            if " 101 " in status:
                return status
            return f"{status}: {(await self._reader.read()).decode().strip()}"

    async def open(self, port: int, tls: ssl.SSLContext | None) -> None:
        async with asyncio.timeout(DEADLINE):
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls)

    def write(self, data: bytes) -> None:
        assert self._writer
        self._writer.write(data)

    async def send(self, message: Message) -> None:
        for part in self._encode(message):
            self.write(frame(part, self._opcode))
        await self.drain()

    async def drain(self) -> None:
        assert self._writer
        async with asyncio.timeout(DEADLINE):
            await self._writer.drain()

    async def keepalive(self) -> None:
        await self.send(Message.build("websocket", "resource", "keepalive", "node", "ping"))

    async def read_frame(self) -> tuple[int, bytes]:
        async with asyncio.timeout(DEADLINE):
            first, length = await self._reader.readexactly(2)
            size = length & 0x7F
            if size == 126:
                (size,) = struct.unpack(">H", await self._reader.readexactly(2))
            elif size == 127:
                (size,) = struct.unpack(">Q", await self._reader.readexactly(8))
            return first & 0x0F, await self._reader.readexactly(size)

    async def receive(self) -> Message:
        """Read until a message is complete."""
        while True:
            kind, payload = await self.read_frame()
            assert kind == self._opcode, (kind, payload)
            for message in self._decoder.feed(payload):
                return message

    def local_address(self) -> str:
        assert self._writer
        host, port = self._writer.get_extra_info("sockname")
        return f"{host}:{port}"

    async def is_served(self) -> bool:
        """Whether a ping is answered with a pong."""
        self.write(frame(b"", PING))
        return (await self.read_frame())[0] == PONG

    async def closed(self) -> tuple[int, str]:
        """Read until the close frame, answer it, and return its code and reason."""
        while True:
            kind, payload = await self.read_frame()
            if kind == CLOSE:
                self.write(frame(payload[:2], CLOSE))
                await self.gone()
                return int.from_bytes(payload[:2], "big"), payload[2:].decode()

    async def gone(self) -> None:
        """Read until the connection is closed or lost."""
        async with asyncio.timeout(DEADLINE):
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                while await self._reader.read(65536):
                    pass

    async def leave(self) -> None:
        """Abort the connection."""
        if self._writer is not None:
            self._writer.transport.abort()
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                await self._writer.wait_closed()
