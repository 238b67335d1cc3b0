"""The cost of CloudHub: `make bench-cloudhub`.

The hub runs in a process of its own as under the supervisor, hollow edges (bench/hollow.py) in
two others, and this process is both controllers: it receives messages from edges and sends messages
to them. All share the machine, so that rates are those of all together; CPU and memory are those of
the hub (of all its processes, if there are several). Messages have about 20 bytes of content;
certificates are RSA 2048 with client certificates verified, TLS 1.3.

    python -m bench.cloudhub [--nodes 100 1000 10000] [--at-once 2000] [--repeats 3] [--processes 2]
    python -m bench.cloudhub --kubeedge 1.23

The second one is for edges that speak JSON; it also measures renewals of leases and patches of
nodes in a whole cloudcore (bench/kubelets.py).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import resource
import socket
import ssl
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import multiprocess
import psutil
import uvloop

from bench import kubelets
from bench.figures import Figure, median, percentile, publish, say
from bench.usage import running_time
from ipc import AsyncContext, ChannelRegistry, Message, open_contexts
from modules.cloudhub.cluster.protocol import FIRST, unit_names
from modules.cloudhub.config import CloudHubConfig
from modules.cloudhub.endpoint.tls import TlsFiles, server_context
from modules.common.pki.certificates import Pki, ensure_pki, issue_node, write_node_files
from modules.hollow import tls
from modules.hollow.versions import VERSIONS
from supervisor.api import Settings

_spawn = multiprocess.get_context("spawn")

LOADS = 2
HEARTBEAT = 15.0
BEATING = 30.0
RATE = 1000
SECONDS = 5
DOWN = UP = 60_000
SETTLE = 2.0
HANDSHAKES = 100
#: Edges of a whole cloudcore at most.
MOST_KUBELETS = 500

#: The (value, unit) of each metric of one run.
Run = dict[str, tuple[float, str]]


# ------------------------------------------------------------------------------ the hub


class Context(AsyncContext):
    """The part of a module's context that the hub uses."""

    def __init__(
        self, registry: ChannelRegistry, name: str, listener: socket.socket, ready: Any
    ) -> None:
        super().__init__(registry, name)
        self.sockets = {"websocket": listener}
        self.ready = ready.set

    def report(self, **details: Any) -> None: ...


def hub(
    registry: ChannelRegistry,
    unit: str,
    listener: socket.socket,
    directory: Path,
    config: dict[str, Any],
    ready: Any,
) -> None:
    from modules.cloudhub.main import run

    async def serve() -> None:
        context: Any = Context(registry, unit, listener, ready)
        settings = Settings(data_dir=directory, run_dir=directory)
        await run(CloudHubConfig(**config), settings, context)

    logging.disable()
    listener.setblocking(False)
    uvloop.run(serve())


class Hub:
    """The hub's processes, seen from outside, and the controllers' ends of the channels."""

    def __init__(self, directory: Path, nodes: int, processes: int) -> None:
        names = ("edgecontroller", "devicecontroller")
        units = unit_names(processes)
        groups = {unit: "cloudhub" if unit == FIRST else "" for unit in units}
        self._contexts = open_contexts({name: name for name in names} | groups)
        self.controller = self._contexts["edgecontroller"]
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self.port = self.listener.getsockname()[1]
        config = {
            "authorization": "any-trusted",
            "node_limit": nodes,
            "keepalive_interval": 600.0,
            "rate_limit": 0.0,
            "processes": processes,
        }
        registry = self.controller.registry
        readies = [_spawn.Event() for _ in units]
        self._processes = [
            _spawn.Process(
                target=hub, args=(registry, unit, self.listener, directory, config, ready)
            )
            for unit, ready in zip(units, readies, strict=True)
        ]
        for process in self._processes:
            process.start()
        assert all(ready.wait(30) for ready in readies)
        self.received = 0
        self.latencies: list[float] = []
        self._wanted = asyncio.Event()
        self._want = 0
        self._reading = [asyncio.create_task(self._read(self._contexts[n])) for n in names]

    async def _read(self, context: AsyncContext) -> None:
        while True:
            message = await context.receive()
            if message.operation == "update":
                self.received += 1
                self.latencies.append((time.monotonic_ns() - int(message.content)) / 1e6)
                if self.received == self._want:
                    self._wanted.set()

    def expect(self, count: int) -> None:
        self.received, self._want = 0, count
        self.latencies.clear()
        self._wanted.clear()

    async def all_received(self) -> None:
        await asyncio.wait_for(self._wanted.wait(), 120)

    def cpu(self) -> float:
        return sum(running_time(process.pid) for process in self._processes)

    def rss(self) -> int:
        return sum(psutil.Process(process.pid).memory_info().rss for process in self._processes)

    async def close(self) -> None:
        for task in self._reading:
            task.cancel()
        for process in self._processes:
            process.kill()
            process.join()
        self.listener.close()
        for context in self._contexts.values():
            context.close()


# ---------------------------------------------------------------------------- the edges


class Edges:
    """The processes of hollow edges; each command goes to all of them."""

    def __init__(self, processes: Sequence[asyncio.subprocess.Process]) -> None:
        self._processes = processes

    async def tell(self, **command: Any) -> list[dict[str, Any]]:
        return await asyncio.gather(*(self._command(each, command) for each in self._processes))

    async def _command(
        self, process: asyncio.subprocess.Process, command: dict[str, Any]
    ) -> dict[str, Any]:
        assert process.stdin
        assert process.stdout
        process.stdin.write(json.dumps(command).encode() + b"\n")
        line = await asyncio.wait_for(process.stdout.readline(), 300)
        if not line:
            raise RuntimeError(f"a process of edges exited during the command {command}")
        answer: dict[str, Any] = json.loads(line)
        return answer


@asynccontextmanager
async def edges_of(hub: Hub, certs: Path, count: int, kubeedge: str) -> AsyncIterator[Edges]:
    each = count // LOADS
    processes = [
        await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bench.hollow", f"wss://127.0.0.1:{hub.port}", str(certs)),
            *(str(number * each), str(each), "--kubeedge", kubeedge),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=1 << 26,
        )
        for number in range(LOADS)
    ]
    try:
        edges = Edges(processes)
        await edges.tell(do="count")  # they are there
        yield edges
    finally:
        for process in processes:
            process.kill()
            await process.wait()


# ------------------------------------------------------------------------ what is measured


async def measure(
    directory: Path, certs: Path, nodes: int, options: argparse.Namespace, *, at_once: bool
) -> Run:
    hub = Hub(directory, nodes, options.processes)
    try:
        async with edges_of(hub, certs, nodes, options.kubeedge) as edges:
            found: Run = {"resident memory at start": (hub.rss() / 2**20, "MiB")}
            found |= await connect(hub, edges, nodes, at_once=at_once)
            if not at_once:
                found |= await keepalives(hub, edges)
                found |= await down(hub, edges, nodes)
                found |= await up(hub, edges, nodes)
            return found
    finally:
        await hub.close()


async def connect(hub: Hub, edges: Edges, nodes: int, *, at_once: bool) -> Run:
    memory, cpu = hub.rss(), hub.cpu()
    pace = {} if at_once else {"rate": 250 / LOADS}
    made = await edges.tell(do="connect", **pace)
    failures = [failure for each in made for failure in each["failures"]]
    if failures:
        print(f"{len(failures)} failures, the first: {failures[0]}")
    times = [ms for each in made for ms in each["ms"]]
    await asyncio.sleep(SETTLE)
    connected = sum(each["connected"] for each in await edges.tell(do="count"))
    found: Run = {
        "failures to connect": (len(failures) + nodes - len(failures) - connected, ""),
        "connect, p50": (percentile(times, 50), "ms"),
        "connect, p99": (percentile(times, 99), "ms"),
        "CPU per connect": ((hub.cpu() - cpu) / nodes * 1e3, "ms"),
        "resident memory per idle edge": ((hub.rss() - memory) / nodes / 1024, "KiB"),
        "resident memory with all": (hub.rss() / 2**20, "MiB"),
    }
    if at_once:
        found["connects"] = (nodes / max(each["seconds"] for each in made), "1/s")
    return found


async def keepalives(hub: Hub, edges: Edges) -> Run:
    """Measure keepalives as edges send them: one in 15 s from each, spread evenly."""
    cpu, began = hub.cpu(), time.monotonic()
    sent = sum(
        each["sent"] for each in await edges.tell(do="beat", seconds=BEATING, every=HEARTBEAT)
    )
    await asyncio.sleep(0.2)
    used = hub.cpu() - cpu
    return {
        "CPU per keepalive": (used / sent * 1e6, "us"),
        "CPU with keepalives every 15 s": (used / (time.monotonic() - began) * 100, "%"),
    }


async def down(hub: Hub, edges: Edges, nodes: int) -> Run:
    count = DOWN // nodes * nodes or nodes
    cpu, began = hub.cpu(), time.monotonic_ns()
    waiting = asyncio.create_task(edges.tell(do="expect", messages=count // LOADS))
    for number in range(count):
        await hub.controller.send("cloudhub", to_edge(number, nodes))
    seen = await waiting
    seconds = (max(each["at"] for each in seen) - began) / 1e9
    found: Run = {
        "messages down": (count / seconds, "1/s"),
        "CPU per message down": ((hub.cpu() - cpu) / count * 1e6, "us"),
    }
    count = RATE * SECONDS // nodes * nodes or nodes
    waiting = asyncio.create_task(edges.tell(do="expect", messages=count // LOADS))
    start = time.monotonic()
    for number in range(count):
        ahead = start + number / RATE - time.monotonic()
        if ahead > 0:
            await asyncio.sleep(ahead)
        await hub.controller.send("cloudhub", to_edge(number, nodes))
    times = [ms for each in await waiting for ms in each["ms"]]
    return found | {
        f"down at {RATE}/s, p50": (percentile(times, 50), "ms"),
        f"down at {RATE}/s, p99": (percentile(times, 99), "ms"),
    }


async def up(hub: Hub, edges: Edges, nodes: int) -> Run:
    each = max(1, UP // nodes)
    hub.expect(each * nodes)
    cpu, began = hub.cpu(), time.monotonic()
    await edges.tell(do="up", each=each)
    await hub.all_received()
    seconds = time.monotonic() - began
    found: Run = {
        "messages up": (each * nodes / seconds, "1/s"),
        "CPU per message up": ((hub.cpu() - cpu) / (each * nodes) * 1e6, "us"),
    }
    hub.expect(RATE * SECONDS)
    await edges.tell(do="up", rate=RATE / LOADS, seconds=SECONDS)
    await hub.all_received()
    return found | {
        f"up at {RATE}/s, p50": (percentile(hub.latencies, 50), "ms"),
        f"up at {RATE}/s, p99": (percentile(hub.latencies, 99), "ms"),
    }


def to_edge(number: int, nodes: int) -> Message:
    resource = f"node/edge-{number % nodes}/default/pod/p{number}"
    return Message.build("edgecontroller", "resource", "insert", resource, str(time.monotonic_ns()))


# ------------------------------------------------------------------------------ the peer


def handshake(directory: Path, certs: Path) -> float:
    """Return the CPU milliseconds of OpenSSL for the server's side of a handshake, in memory.

    It is measured in the same minute as each case, since it shows how fast the machine is at that
    time, and which part of a connect is CloudHub's.
    """
    pki = Pki(directory / "pki")
    server = server_context(TlsFiles.of(pki))
    client = tls.from_directory(certs)
    spent = 0.0
    for _ in range(HANDSHAKES):
        up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
        sides = {
            True: server.wrap_bio(up, down, server_side=True),
            False: client.wrap_bio(down, up, server_side=False),
        }
        while sides:
            for is_server, side in list(sides.items()):
                began = time.process_time()
                with contextlib.suppress(ssl.SSLWantReadError):
                    side.do_handshake()
                    del sides[is_server]
                spent += (time.process_time() - began) * is_server
    return spent / HANDSHAKES * 1e3


# --------------------------------------------------------------------------------- runs


def certificates(directory: Path) -> Path:
    """Make one certificate for all edges: ten thousand would take longer than the benchmark."""
    pki = ensure_pki(directory / "pki", [])
    certs = directory / "edge"
    certs.mkdir()
    write_node_files(certs, pki.directory, issue_node(pki.directory, "edge"))
    return certs


async def run_all(options: argparse.Namespace) -> list[Figure]:
    figures = []
    with tempfile.TemporaryDirectory(prefix="cloudcore-bench-") as name:
        directory = Path(name)
        certs = certificates(directory)
        cases = [(f"{nodes:,} edges", nodes, False) for nodes in options.nodes]
        cases += [(f"{nodes:,} edges at once", nodes, True) for nodes in options.at_once]
        for case, nodes, at_once in cases:
            runs: dict[tuple[str, str], list[float]] = defaultdict(list)
            alone: list[float] = []
            for number in range(options.repeats):
                say(f"{case}: run {number + 1} of {options.repeats}")
                alone.append(handshake(directory, certs))
                found = await measure(directory, certs, nodes, options, at_once=at_once)
                for metric, (value, unit) in found.items():
                    runs[metric, unit].append(value)
            figures.append(Figure(case, "OpenSSL alone", "CPU per connect", median(alone), "ms"))
            figures += [
                Figure(case, "cloudcore", metric, median(values), unit)
                for (metric, unit), values in runs.items()
            ]
    if options.kubeedge != "1.1":
        figures += await calls(min(max(options.nodes), MOST_KUBELETS), options)
    return figures


async def calls(nodes: int, options: argparse.Namespace) -> list[Figure]:
    """Return what the calls of edges cost a whole cloudcore."""
    runs: dict[tuple[str, str], list[float]] = defaultdict(list)
    for number in range(options.repeats):
        say(f"whole cloudcore: run {number + 1} of {options.repeats}")
        for metric, (value, unit) in (await kubelets.measure(nodes, options.kubeedge)).items():
            runs[metric, unit].append(value)
    case = f"whole cloudcore, {nodes:,} edges"
    return [
        Figure(case, "cloudcore", metric, median(values), unit)
        for (metric, unit), values in runs.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nodes", type=int, nargs="*", default=[100, 1000, 10_000])
    parser.add_argument("--at-once", type=int, nargs="*", default=[1000, 2000])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--kubeedge", choices=VERSIONS, default="1.1", help="the edges' version")
    options = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    figures = uvloop.run(run_all(options))
    processes = "process" if options.processes == 1 else f"{options.processes} processes"
    how = f"medians of {options.repeats} runs; CPU and memory of the hub's {processes} alone"
    name = f"cloudhub-{options.processes}" if options.processes > 1 else "cloudhub"
    publish(name if options.kubeedge == "1.1" else f"{name}-{options.kubeedge}", how, figures)


if __name__ == "__main__":
    main()
