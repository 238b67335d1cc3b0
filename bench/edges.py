"""Many edges in a process of their own: they connect, acknowledge messages, and record times.

Commands are lines of JSON on stdin, results lines of JSON on stdout. Times are those of
time.time_ns, which all processes of a machine share.

    python -m bench.edges wss://127.0.0.1:10000 CERTIFICATES PREFIX COUNT [GENERATION]
"""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvloop

from ipc import Message
from modules.common.times import format_now
from modules.common.wire import generations
from modules.hollow import tls
from modules.hollow.link import FORMS, Link
from modules.hollow.manifests import PROPERTY
from modules.hollow.timing import Timing
from modules.hollow.v1_1.status import node_status_request
from modules.hollow.versions import PROJECT_ID

#: Edges that connect at the same time: connecting is not what is measured here.
DIALING = 16


def device_of(node: str) -> str:
    """Return the name of a node's only device."""
    return f"device-of-{node}"


class Edge:
    """A link, with the part of edged and metaManager that answers; it keeps no objects."""

    def __init__(
        self, node: str, server: str, context: ssl.SSLContext, generation: str = generations.V1_1
    ) -> None:
        self.node = node
        self.dialed = 0
        #: When the first message came after the edge has dialed, and the first pod.
        self.first = self.first_pod = 0
        self.arrived: dict[str, int] = {}
        self.asked: dict[str, int] = {}
        self.answered: list[int] = []
        self.up = asyncio.Event()
        #: How often the node's device has reported; what it reports is this number.
        self.reports = 0
        self._status = node_status_request(node, format_now())
        self.link = Link(
            f"{server}/{PROJECT_ID}/{node}/events",
            {"node_id": node, "project_id": PROJECT_ID, "ConnectionUse": "msg"},
            context,
            Timing(),
            form=FORMS[generation],
            on_up=self.up.set,
            on_message=self._receive,
            emit=lambda *_: None,
        )

    def dials(self, server: str) -> None:
        """Begin with another connection, whose times are noted."""
        self.first = self.first_pod = 0
        self.link.url = f"{server}/{PROJECT_ID}/{self.node}/events"
        self.dialed = time.time_ns()

    def report_status(self) -> None:
        """Send the node's status, as an edge does every 10 s."""
        resource = f"default/nodestatus/{self.node}"
        self._ask(Message.build("edged", "meta", "update", resource, self._status))

    def report_twin(self) -> None:
        """Send a value of the node's device of v1beta1, as deviceTwin does."""
        self.reports += 1
        now = time.time_ns() // 1_000_000
        twin = {
            "actual": {"value": str(self.reports), "metadata": {"timestamp": now}},
            "optional": True,
            "metadata": {"type": "string"},
            "actual_version": {"cloud": 0, "edge": self.reports},
        }
        content = {"event_id": str(uuid.uuid4()), "timestamp": now, "twin": {PROPERTY: twin}}
        resource = f"device/default/{device_of(self.node)}/twin/edge_updated"
        self._ask(Message.build("twin", "resource", "update", resource, content))

    def _ask(self, message: Message) -> None:
        self.asked[message.id] = time.time_ns()
        self.link.send(message)

    def _receive(self, message: Message) -> None:
        at = time.time_ns()
        self.first = self.first or at
        if "/pod/" in message.resource:
            self.first_pod = self.first_pod or at
        if message.operation == "response":
            asked = self.asked.pop(message.parent_id, None)
            if asked is not None:
                self.answered.append(at - asked)
        elif message.group == "resource":
            if message.operation == "insert":
                self.arrived.setdefault(message.resource, at)
            self.link.send(message.response("OK"))


class Edges:
    """All edges of this process, and the commands for them."""

    def __init__(self, edges: list[Edge]) -> None:
        self.edges = edges
        self._tasks: set[asyncio.Task[None]] = set()
        self._commands: dict[str, Callable[..., Any]] = {
            "arrivals": self.arrivals,
            "hang_up": self.hang_up,
            "dial": self.dial,
            "report": self.report,
            "last_reports": self.last_reports,
        }

    async def connect(self) -> None:
        room = asyncio.Semaphore(DIALING)

        async def connected(edge: Edge) -> None:
            async with room:
                tasks.add(asyncio.create_task(edge.link.run()))
                await edge.up.wait()

        tasks = self._tasks
        await asyncio.gather(*map(connected, self.edges))

    async def obey(self, reader: asyncio.StreamReader) -> None:
        while line := await reader.readline():
            name, *arguments = json.loads(line)
            print(json.dumps(await self._commands[name](*arguments)), flush=True)

    async def arrivals(self) -> dict[str, int]:
        """Return the times at which inserted objects arrived, by resource, and forget them."""
        told: dict[str, int] = {}
        for edge in self.edges:
            told |= edge.arrived
            edge.arrived = {}
        return told

    async def hang_up(self) -> None:
        """Close all connections."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()

    async def dial(self, server: str, rate: float) -> dict[str, list[float]]:
        """Connect to a server, `rate` edges per second; wait until each has got a pod.

        Returns the milliseconds from the dial of each edge to its first message and to its pod;
        less than 0 if none came within a minute.
        """
        began = time.perf_counter()
        for number, edge in enumerate(self.edges):
            await asyncio.sleep(max(0.0, began + number / rate - time.perf_counter()))
            edge.dials(server)
            self._tasks.add(asyncio.create_task(edge.link.run()))
        await self._until(60, lambda: all(edge.first_pod for edge in self.edges))
        return {
            "first": [(edge.first - edge.dialed) / 1e6 for edge in self.edges],
            "pod": [(edge.first_pod - edge.dialed) / 1e6 for edge in self.edges],
        }

    async def last_reports(self) -> dict[str, str]:
        """Return what each device has reported last, by its name."""
        return {device_of(edge.node): str(edge.reports) for edge in self.edges}

    async def report(self, what: str, rate: float, seconds: float) -> dict[str, Any]:
        """Report in turn, `rate` per second; return the duration of each answer.

        `what` is "status", of the nodes, or "twin", of their devices. Reports that are not answered
        half a second after the last one was sent are `late`: they wait in a queue, so the rate is
        too high.
        """
        for edge in self.edges:
            edge.asked, edge.answered = {}, []
        count = int(rate * seconds)
        began = time.perf_counter()
        for number in range(count):
            pause = began + number / rate - time.perf_counter()
            if pause > 0:
                await asyncio.sleep(pause)
            edge = self.edges[number % len(self.edges)]
            if what == "twin":
                edge.report_twin()
            else:
                edge.report_status()
        await asyncio.sleep(0.5)
        late = sum(len(edge.asked) for edge in self.edges)
        await self._until(60, lambda: not any(edge.asked for edge in self.edges))
        return {
            "sent": count,
            "late": late,
            "lost": sum(len(edge.asked) for edge in self.edges),
            "took": [each for edge in self.edges for each in edge.answered],
        }

    async def _until(self, seconds: float, condition: Callable[[], bool]) -> None:
        """Wait for a condition, but not longer than that."""
        deadline = time.perf_counter() + seconds
        while not condition():
            if time.perf_counter() > deadline:
                return
            await asyncio.sleep(0.1)


async def main(
    server: str, certificates: Path, prefix: str, count: int, generation: str = generations.V1_1
) -> None:
    context = tls.from_directory(certificates)
    names = [f"{prefix}-{number}" for number in range(count)]
    edges = Edges([Edge(name, server, context, generation) for name in names])
    await edges.connect()
    reader = asyncio.StreamReader(limit=2**24)
    protocol = asyncio.StreamReaderProtocol(reader)
    await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin)
    print(json.dumps("connected"), flush=True)
    await edges.obey(reader)


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]), *sys.argv[5:]))
