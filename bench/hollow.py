"""Many hollow edges in one process, for benchmarks: connections that send on command.

`python -m bench.hollow SERVER CERTS FIRST COUNT [--kubeedge 1.23]` reads commands from its standard
input, one JSON object in each line, and answers each with a line of JSON. The edges have only TLS,
websocket and the message form of their generation, so that they take little of the machine that
they share with what is measured; modules/hollow has the whole edge.

    {"do": "connect"}                       connect all at once; milliseconds, and failures
    {"do": "connect", "rate": 500}          connect `rate` edges per second
    {"do": "beat", "seconds": 30, "every": 15}   send keepalives, spread evenly
    {"do": "up", "each": 1000}              each edge sends 1000 messages as fast as possible
    {"do": "up", "rate": 500, "seconds": 5} all edges send 500 per second; the content is the time
    {"do": "expect", "messages": 1000}      wait for 1000 messages from the cloud; their latencies
    {"do": "churn", "rate": 50, "seconds": 30, "away": 2.5}
                                            disconnect `rate` edges per second, each for a while
    {"do": "count"}                         return the number of connected edges
"""

from __future__ import annotations

import argparse
import asyncio
import json
import ssl
import sys
import time
from pathlib import Path
from typing import Any

import uvloop
from picows import WSError, WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

from ipc import Message
from modules.hollow import tls
from modules.hollow.link import FORMS
from modules.hollow.versions import PROJECT_ID, VERSIONS

HEADER = 10


class Edge(WSListener):
    """One connection."""

    def __init__(self, load: Load, node: str) -> None:
        self.node = node
        self.transport: WSTransport | None = None
        self._load = load
        self._decoder = load.form.decoder()
        self.writable = asyncio.Event()
        self.writable.set()

    def send(self, operation: str, resource: str, content: str) -> None:
        assert self.transport
        message = Message.build("edged", "resource", operation, resource, content)
        for part in self._load.form.encode(message):
            self.transport.send(self._load.form.frame, part)

    def beat(self) -> None:
        self.send("keepalive", "node", "ping")

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.transport = transport
        transport.underlying_transport.set_write_buffer_limits(high=64 * 1024)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == self._load.form.frame:
            for message in self._decoder.feed(frame.get_payload_as_bytes()):
                self._load.arrived(message)
        elif frame.msg_type == WSMsgType.CLOSE:
            transport.disconnect()

    def on_ws_disconnected(self, transport: WSTransport) -> None:  # noqa: ARG002
        self.transport = None
        self.writable.set()

    def pause_writing(self) -> None:
        self.writable.clear()

    def resume_writing(self) -> None:
        self.writable.set()


class Load:
    """The edges of this process, and the commands for them."""

    def __init__(
        self, server: str, context: ssl.SSLContext, first: int, count: int, kubeedge: str
    ) -> None:
        self.form = FORMS[VERSIONS[kubeedge].generation]
        self._server = server
        self._context = context
        self.edges = [Edge(self, f"edge-{first + number}") for number in range(count)]
        self._arrived = 0
        self._latencies: list[float] = []
        self._expected = 0
        self._all_arrived = asyncio.Event()

    def arrived(self, message: Message) -> None:
        if not isinstance(message.content, str | bytes) or not message.content.isdigit():
            return  # what a whole cloudcore sends to an edge unasked
        self._arrived += 1
        self._latencies.append((time.monotonic_ns() - int(message.content)) / 1e6)
        if self._arrived >= self._expected:
            self._all_arrived.set()

    async def connect(self, rate: float = 0.0) -> dict[str, Any]:
        began = time.monotonic()

        async def one(number: int, edge: Edge) -> float | str:
            if rate:
                await asyncio.sleep(began + number / rate - time.monotonic())
            return await self._dial(edge)

        made = await asyncio.gather(*(one(*each) for each in enumerate(self.edges)))
        return {
            "seconds": time.monotonic() - began,
            "ms": [each for each in made if isinstance(each, float)],
            "failures": [each for each in made if isinstance(each, str)],
        }

    async def _dial(self, edge: Edge) -> float | str:
        """Connect an edge; return the milliseconds, or why it cannot."""
        start = time.monotonic()
        try:
            await ws_connect(
                lambda: edge,
                f"{self._server}/{PROJECT_ID}/{edge.node}/events",
                ssl_context=self._context,
                extra_headers={"node_id": edge.node, "project_id": PROJECT_ID},
                websocket_handshake_timeout=60,
                read_buffer_init_size=2048,
                use_aiofastnet=False,
            )
        except (OSError, WSError, TimeoutError) as error:
            return f"{type(error).__name__}: {error}"
        if edge.transport:
            edge.beat()
        return (time.monotonic() - start) * 1e3

    async def churn(self, rate: float, seconds: float, away: float) -> dict[str, Any]:
        """Disconnect one edge after the other; each connects again after `away` seconds."""

        async def leave(edge: Edge) -> float | str:
            if edge.transport:
                edge.transport.disconnect()
            await asyncio.sleep(away)
            return await self._dial(edge)

        began = time.monotonic()
        leaving = []
        for number in range(int(rate * (seconds - away))):
            ahead = began + number / rate - time.monotonic()
            if ahead > 0:
                await asyncio.sleep(ahead)
            leaving.append(asyncio.create_task(leave(self.edges[number % len(self.edges)])))
        made = await asyncio.gather(*leaving)
        return {"failures": [each for each in made if isinstance(each, str)]}

    async def beat(self, seconds: float, every: float) -> dict[str, Any]:
        """Send keepalives at a steady rate, one edge after the other."""
        pause = every / len(self.edges)
        count = int(seconds / pause)
        began = time.monotonic()
        for number in range(count):
            ahead = began + number * pause - time.monotonic()
            if ahead > 0:
                await asyncio.sleep(ahead)
            self.edges[number % len(self.edges)].beat()
        return {"sent": count}

    async def up(self, each: int = 0, rate: float = 0.0, seconds: float = 0.0) -> dict[str, Any]:
        if each:

            async def flood(edge: Edge) -> None:
                for _ in range(each):
                    edge.send("update", "default/podstatus/p", str(time.monotonic_ns()))
                    await edge.writable.wait()

            await asyncio.gather(*(flood(edge) for edge in self.edges))
            return {"sent": each * len(self.edges)}
        began = time.monotonic()
        count = int(rate * seconds)
        for number in range(count):
            ahead = began + number / rate - time.monotonic()
            if ahead > 0:
                await asyncio.sleep(ahead)
            edge = self.edges[number % len(self.edges)]
            edge.send("update", "default/podstatus/p", str(time.monotonic_ns()))
        return {"sent": count}

    async def expect(self, messages: int) -> dict[str, Any]:
        self._expected = messages
        if self._arrived < messages:
            self._all_arrived.clear()
            await asyncio.wait_for(self._all_arrived.wait(), 120)
        found, self._latencies, self._arrived = self._latencies, [], 0
        return {"ms": found, "at": time.monotonic_ns()}

    async def count(self) -> dict[str, Any]:
        return {"connected": sum(edge.transport is not None for edge in self.edges)}


async def serve(options: argparse.Namespace) -> None:
    context = tls.from_directory(options.certs)
    load = Load(options.server, context, options.first, options.count, options.kubeedge)
    reader = asyncio.StreamReader(limit=1 << 26)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        command = json.loads(line)
        answer = await getattr(load, command.pop("do"))(**command)
        print(json.dumps(answer), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("server")
    parser.add_argument("certs", type=Path)
    parser.add_argument("first", type=int)
    parser.add_argument("count", type=int)
    parser.add_argument("--kubeedge", choices=VERSIONS, default="1.1")
    uvloop.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
