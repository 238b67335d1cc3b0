"""Compare websocket servers as CloudHub would use them: TLS with client certificates, uvloop.

Each candidate runs in a process of its own. The clients, in another process, are the same for all:
raw TLS connections that write masked frames, in pairs of 10 and 93 bytes like an edge's keepalive.
Run from the top folder, with the candidates installed:

    python -m bench.websocket_servers [--connections 500] [--repeats 3]

All figures except memory are the server's CPU time, on which other load has little effect.
Prints a table of medians and writes bench/out/websocket.json.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import json
import logging
import os
import ssl
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import psutil
import uvloop

from bench.figures import say
from modules.common.pki.certificates import Pki, ensure_pki

OUT = Path(__file__).parent / "out" / "websocket.json"
SENDERS = 8
REQUEST = (
    b"GET /e632aba927ea4ac2b575ec1603d56f10/edge-node-1/events HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nnode_id: edge-node-1\r\n\r\n"
)
PAIR = b"\x82\x8a\0\0\0\0" + b"h" * 10 + b"\x82\xdd\0\0\0\0" + b"p" * 93
LAST = b"\x82\x84\0\0\0\0last"
ROUNDS = 40
UNITS = {
    "memory per idle connection": "KiB",
    "CPU per connect": "ms",
    "CPU per keepalive": "us",
    "messages up": "1/CPU s",
}


def tls(pki: Pki, side: ssl.Purpose) -> ssl.SSLContext:
    context = ssl.create_default_context(side, cafile=str(pki.ca_cert))
    server = side is ssl.Purpose.CLIENT_AUTH
    context.load_cert_chain(
        pki.server_cert if server else pki.admin_cert, pki.server_key if server else pki.admin_key
    )
    context.verify_mode = ssl.CERT_REQUIRED
    context.check_hostname = False
    return context


# ------------------------------------------------------------------------ candidates


async def serve_picows(context: ssl.SSLContext, *, aiofastnet: bool) -> int:
    from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_create_server

    class Listener(WSListener):
        def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
            if frame.get_payload_as_bytes() == b"last":
                transport.send(WSMsgType.BINARY, b"seen")

    buffers = {"ssl_incoming_bio_size": 16_640, "ssl_outgoing_bio_size": 16_640}
    options: dict[str, Any] = buffers if aiofastnet else {}
    server = await ws_create_server(
        lambda _request: Listener(),
        "127.0.0.1",
        0,
        ssl=context,
        read_buffer_init_size=2048,
        use_aiofastnet=aiofastnet,
        backlog=1024,
        **options,
    )
    KEEP.append(server)
    return int(server.sockets[0].getsockname()[1])


async def serve_websockets(context: ssl.SSLContext) -> int:
    from websockets.asyncio.server import ServerConnection, serve

    async def handle(connection: ServerConnection) -> None:
        async for message in connection:
            if message == b"last":
                await connection.send(b"seen")

    server = await serve(
        handle,
        "127.0.0.1",
        0,
        ssl=context,
        compression=None,
        ping_interval=None,
        open_timeout=60,
        backlog=1024,
    )
    KEEP.append(server)
    return int(next(iter(server.sockets)).getsockname()[1])


async def serve_aiohttp(context: ssl.SSLContext) -> int:
    from aiohttp import web

    async def handle(request: web.Request) -> web.WebSocketResponse:
        response = web.WebSocketResponse(compress=False, autoping=True)
        await response.prepare(request)
        async for message in response:
            if message.data == b"last":
                await response.send_bytes(b"seen")
        return response

    application = web.Application()
    application.router.add_get("/{project}/{node}/events", handle)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context, backlog=1024)
    await site.start()
    KEEP.append(runner)
    return int(runner.addresses[0][1])


KEEP: list[Any] = []
CANDIDATES: dict[str, tuple[str, Callable[[ssl.SSLContext], Awaitable[int]]]] = {
    "picows": ("picows", lambda context: serve_picows(context, aiofastnet=True)),
    "picows, uvloop's TLS": ("picows", lambda context: serve_picows(context, aiofastnet=False)),
    "websockets": ("websockets", serve_websockets),
    "aiohttp": ("aiohttp", serve_aiohttp),
}


async def serve(candidate: str, directory: Path) -> None:
    logging.disable()  # the clients leave without a word
    port = await CANDIDATES[candidate][1](tls(Pki(directory), ssl.Purpose.CLIENT_AUTH))
    print(port, flush=True)
    await asyncio.Event().wait()


# --------------------------------------------------------------------------- clients


class Client(asyncio.Protocol):
    """One connection: the request, then frames; answers are not parsed."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.accepted: asyncio.Future[None] = loop.create_future()
        self.seen: asyncio.Future[None] = loop.create_future()
        self.writable = asyncio.Event()
        self.writable.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]
        self.transport.write(REQUEST)

    def data_received(self, data: bytes) -> None:
        if not self.accepted.done() and data.startswith(b"HTTP/1.1 101"):
            self.accepted.set_result(None)
        if b"seen" in data:
            self.seen.set_result(None)

    def pause_writing(self) -> None:
        self.writable.clear()

    def resume_writing(self) -> None:
        self.writable.set()

    async def send(self, pairs: int) -> None:
        """Send pairs of messages, many at a time, so that the server is the bottleneck."""
        for _ in range(pairs // 50):
            self.transport.write(PAIR * 50)
            await self.writable.wait()
        self.transport.write(LAST)
        await self.seen


async def load(port: int, server: int, directory: Path, connections: int, pairs: int) -> None:
    """Drive the server with process id `server`, print what was measured."""
    context = tls(Pki(directory), ssl.Purpose.SERVER_AUTH)
    process = psutil.Process(server)
    loop = asyncio.get_running_loop()

    async def connect() -> Client:
        _, client = await loop.create_connection(Client, "127.0.0.1", port, ssl=context)
        await client.accepted
        return client

    await connect()  # the one-time costs of a first connection are not counted
    await asyncio.sleep(0.5)
    memory, cpu = process.memory_info().rss, cpu_of(process)
    clients: list[Client] = []
    for _ in range(0, connections, 50):
        clients += await asyncio.gather(*(connect() for _ in range(50)))
    cpu_connect = (cpu_of(process) - cpu) / len(clients)
    await asyncio.sleep(1)
    memory_each = (process.memory_info().rss - memory) / len(clients)

    cpu = cpu_of(process)
    for _ in range(ROUNDS):
        for client in clients:
            client.transport.write(PAIR)
        await asyncio.sleep(0.1)
    cpu_keepalive = (cpu_of(process) - cpu) / ROUNDS / len(clients)

    cpu = cpu_of(process)
    await asyncio.gather(*(client.send(pairs) for client in clients[:SENDERS]))
    messages = 2 * pairs * SENDERS
    print(
        json.dumps(
            {
                "memory per idle connection": memory_each / 1024,
                "CPU per connect": cpu_connect * 1e3,
                "CPU per keepalive": cpu_keepalive * 1e6,
                "messages up": messages / (cpu_of(process) - cpu),
            }
        )
    )


def cpu_of(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


# ------------------------------------------------------------------------------- runs


def measure(candidate: str, directory: Path, connections: int, pairs: int) -> dict[str, float]:
    command = [sys.executable, "-m", "bench.websocket_servers", "--pki", str(directory)]
    with subprocess.Popen(
        [*command, "--serve", candidate], stdout=subprocess.PIPE, text=True
    ) as server:
        try:
            assert server.stdout
            port = server.stdout.readline().strip()
            sizes = ["--connections", str(connections), "--pairs", str(pairs)]
            done = subprocess.run(
                [*command, "--load", port, "--server", str(server.pid), *sizes],
                stdout=subprocess.PIPE,
                timeout=120,
                check=True,
            )
        finally:
            server.kill()
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def compare(options: argparse.Namespace) -> None:
    runs: dict[str, list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as name:
        directory = ensure_pki(Path(name) / "pki", []).directory
        for candidate, (package, _) in CANDIDATES.items():
            if importlib.util.find_spec(package) is None:
                say(f"{candidate}: not installed, left out")
                continue
            runs[candidate] = []
            for number in range(options.repeats):
                say(f"{candidate}: run {number + 1} of {options.repeats}")
                found = measure(candidate, directory, options.connections, options.pairs)
                runs[candidate].append(found)
    figures = [
        {
            "case": f"{options.connections} TLS connections",
            "system": candidate,
            "metric": metric,
            "value": round(statistics.median(run[metric] for run in each), 2),
            "unit": unit,
        }
        for candidate, each in runs.items()
        for metric, unit in UNITS.items()
    ]
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps(figures, indent=1) + "\n")
    print(f"medians of {options.repeats} runs, {options.connections} connections")
    print(f"{'':24}" + "".join(f"{f'{metric}, {unit}':>32}" for metric, unit in UNITS.items()))
    for candidate in runs:
        values = [row["value"] for row in figures if row["system"] == candidate]
        print(f"{candidate:24}" + "".join(f"{value:32,.1f}" for value in values))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--connections", type=int, default=500)
    parser.add_argument("--pairs", type=int, default=60_000, help="sent by each of 8 connections")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--pki", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--load", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--server", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    os.environ["PYTHONPATH"] = str(Path.cwd())
    if options.serve:
        uvloop.run(serve(options.serve, options.pki))
    elif options.load:
        uvloop.run(
            load(options.load, options.server, options.pki, options.connections, options.pairs)
        )
    else:
        compare(options)


if __name__ == "__main__":
    main()
