"""The cost of a keepalive for a server that only reads it: the lower bound of CloudHub's cost.

Each way of reading a connection runs in a process of its own. Another process sends keepalives as
edges do, two small writes 66 times a second (1,000 edges, one in 15 s), to one connection after the
other, so that the server is woken from idle for each. Run from the top folder:

    python -m bench.keepalives [--connections 500] [--rate 66] [--seconds 10] [--repeats 3]

Prints medians and writes bench/out/keepalives.json.
"""

from __future__ import annotations

import argparse
import asyncio
import select
import socket
import ssl
import sys
import tempfile
import time
from asyncio.subprocess import PIPE
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import aiofastnet
import psutil
import uvloop

from bench.figures import Figure, median, publish, say
from bench.usage import running_time
from modules.cloudhub.endpoint.tls import TlsFiles, server_context
from modules.common.pki.certificates import Pki, ensure_pki
from modules.hollow import tls

HEADER, PAYLOAD = b"h" * 10, b"p" * 93
UNITS = {"CPU per keepalive": "us", "CPU per connect": "ms", "resident per connection": "KiB"}
#: Connections that are opened at the same time.
WIDTH = 20

Reader = Callable[[], object]


class Reading(asyncio.BufferedProtocol):
    """A protocol that reads and discards."""

    def __init__(self) -> None:
        self._buffer = memoryview(bytearray(2048))

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None: ...


# ------------------------------------------------------------------- ways to read a connection


async def no_tls(connection: socket.socket, _context: ssl.SSLContext) -> None:
    buffer = bytearray(2048)
    watch(connection, lambda: connection.recv_into(buffer))


async def uvloop_tls(connection: socket.socket, context: ssl.SSLContext) -> None:
    loop = asyncio.get_running_loop()
    await loop.connect_accepted_socket(Reading, connection, ssl=context)


async def aiofastnet_tls(connection: socket.socket, context: ssl.SSLContext) -> None:
    loop = asyncio.get_running_loop()
    sizes = {"ssl_incoming_bio_size": 16_640, "ssl_outgoing_bio_size": 16_640}
    await aiofastnet.connect_accepted_socket(loop, Reading, connection, ssl=context, **sizes)


async def ssl_socket(connection: socket.socket, context: ssl.SSLContext) -> None:
    """OpenSSL reads the socket itself: two reads for each record."""
    secured = context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
    while True:
        try:
            secured.do_handshake()
            break
        except ssl.SSLWantReadError:
            await readable(secured)
    buffer = bytearray(2048)
    watch(secured, lambda: secured.recv_into(buffer))


async def memory_bio(connection: socket.socket, context: ssl.SSLContext) -> None:
    """One read for all available data; OpenSSL reads it from memory."""
    loop = asyncio.get_running_loop()
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    secured = context.wrap_bio(incoming, outgoing, server_side=True)
    done = False
    while not done:
        try:
            secured.do_handshake()
            done = True
        except ssl.SSLWantReadError:
            pass
        if outgoing.pending:
            await loop.sock_sendall(connection, outgoing.read())
        if not done:
            incoming.write(await loop.sock_recv(connection, 65536))
    buffer = bytearray(2048)

    def read() -> None:
        incoming.write(connection.recv(65536))
        while incoming.pending:
            secured.read(2048, buffer)

    watch(connection, read)


WAYS: dict[str, Callable[[socket.socket, ssl.SSLContext], Coroutine[Any, Any, None]]] = {
    "no TLS": no_tls,
    "uvloop's TLS": uvloop_tls,
    "aiofastnet's TLS": aiofastnet_tls,
    "SSLSocket": ssl_socket,
    "MemoryBIO": memory_bio,
}
#: The way without an event loop.
BARE = "no TLS, select.epoll"
SYSTEMS = (BARE, *WAYS)
KEEP: list[object] = []


def watch(connection: socket.socket, read: Reader) -> None:
    KEEP.append((connection, read))
    asyncio.get_running_loop().add_reader(connection.fileno(), read)


async def readable(connection: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(connection.fileno(), ready.set)
    await ready.wait()
    loop.remove_reader(connection.fileno())


async def serve(system: str, listener: socket.socket, context: ssl.SSLContext) -> None:
    loop = asyncio.get_running_loop()
    listener.setblocking(False)
    async with asyncio.TaskGroup() as tasks:
        while True:
            connection, _ = await loop.sock_accept(listener)
            connection.setblocking(False)
            tasks.create_task(WAYS[system](connection, context))


def serve_bare(listener: socket.socket) -> None:
    poll, buffer = select.epoll(), bytearray(2048)
    connections: dict[int, socket.socket] = {}
    poll.register(listener.fileno(), select.EPOLLIN)
    while True:
        for fd, _ in poll.poll():
            if fd == listener.fileno():
                connection, _ = listener.accept()
                connections[connection.fileno()] = connection
                poll.register(connection.fileno(), select.EPOLLIN)
            else:
                connections[fd].recv_into(buffer)


def run_server(system: str, directory: Path) -> None:
    pki = Pki(directory)
    context = server_context(TlsFiles.of(pki))
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        print(listener.getsockname()[1], flush=True)
        if system == BARE:
            serve_bare(listener)
        else:
            uvloop.run(serve(system, listener, context))


# ------------------------------------------------------------------------------ what is measured


async def measure(system: str, pki: Pki, options: argparse.Namespace) -> dict[str, float]:
    command = ["-m", "bench.keepalives", "--serve", system, "--pki", str(pki.directory)]
    server = await asyncio.create_subprocess_exec(sys.executable, *command, stdout=PIPE)
    try:
        assert server.stdout
        port = int(await server.stdout.readline())
        return await load(system, port, server.pid, pki, options)
    finally:
        server.kill()
        await server.wait()


async def load(
    system: str, port: int, pid: int, pki: Pki, options: argparse.Namespace
) -> dict[str, float]:
    loop = asyncio.get_running_loop()
    context = None if system.startswith("no TLS") else tls.issue(pki.directory, "edge")
    few = asyncio.Semaphore(WIDTH)

    async def connect() -> asyncio.Transport:
        async with few:
            made = await loop.create_connection(asyncio.Protocol, "127.0.0.1", port, ssl=context)
            return made[0]

    first = await connect()  # the one-time costs of a first connection are not counted
    await asyncio.sleep(0.5)
    process = psutil.Process(pid)
    memory, cpu = process.memory_info().rss, running_time(pid)
    edges = await asyncio.gather(*(connect() for _ in range(options.connections)))
    await asyncio.sleep(0.5)
    found = {
        "CPU per connect": (running_time(pid) - cpu) / len(edges) * 1e3,
        "resident per connection": (process.memory_info().rss - memory) / len(edges) / 1024,
    }
    count = int(options.rate * options.seconds)
    began, cpu = time.monotonic(), running_time(pid)
    for number in range(count):
        ahead = began + number / options.rate - time.monotonic()
        if ahead > 0:
            await asyncio.sleep(ahead)
        edges[number % len(edges)].write(HEADER)
        edges[number % len(edges)].write(PAYLOAD)
    await asyncio.sleep(0.2)
    found["CPU per keepalive"] = (running_time(pid) - cpu) / count * 1e6
    for edge in (first, *edges):
        edge.abort()
    return found


async def compare(options: argparse.Namespace) -> None:
    runs: dict[str, list[dict[str, float]]] = {system: [] for system in SYSTEMS}
    with tempfile.TemporaryDirectory() as name:
        pki = ensure_pki(Path(name) / "pki", ["127.0.0.1"])
        for number in range(1, options.repeats + 1):
            for system in SYSTEMS:
                say(f"{system}: run {number} of {options.repeats}")
                runs[system].append(await measure(system, pki, options))
    case = f"{options.connections} connections, {options.rate:g}/s"
    figures = [
        Figure(case, system, metric, median([run[metric] for run in each], 1), unit)
        for metric, unit in UNITS.items()
        for system, each in runs.items()
    ]
    publish("keepalives", f"medians of {options.repeats} runs, in turns", figures)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--connections", type=int, default=500)
    parser.add_argument("--rate", type=float, default=66.0, help="keepalives a second")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--pki", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        run_server(options.serve, options.pki)
    else:
        uvloop.run(compare(options))


if __name__ == "__main__":
    main()
