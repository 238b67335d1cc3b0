"""Real processes that share one listening socket, one of which is killed."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
from multiprocess.process import BaseProcess

from ipc import AsyncContext, Message, open_contexts
from modules.cloudhub.cluster.protocol import unit_names
from modules.cloudhub.endpoint.tls import TlsFiles
from modules.common.pki.certificates import Pki
from modules.common.wire.generations import V1_1, V1_23, generation_of
from tests.modules.cloudhub import unit
from tests.modules.cloudhub.cloud import PROJECT
from tests.modules.cloudhub.edge import Edge

DEADLINE = 30.0
COUNT = 3
NODES = 60


class Fleet:
    """CloudHub in several processes, the edge controller's end, and some edges.

    With `ports` each process has a listening socket of its own, so that it is known where an
    edge comes to; without, they share one as in earnest.
    """

    def __init__(
        self, pki: Pki, client_tls: Callable[[str], ssl.SSLContext], *, ports: bool
    ) -> None:
        units = unit_names(COUNT)
        names = dict.fromkeys(units, "") | {"cloudhub": "cloudhub"}
        self.contexts = open_contexts(names | {"edgecontroller": "edgecontroller"})
        self.controller: AsyncContext = self.contexts["edgecontroller"]
        sockets = [
            socket.create_server(("127.0.0.1", 0), backlog=1024)
            for _ in range(COUNT if ports else 1)
        ]
        self.listeners = {name: sockets[i % len(sockets)] for i, name in enumerate(units)}
        self.files = TlsFiles.of(pki)
        self.processes: dict[str, BaseProcess] = {}
        self.edges: dict[str, Edge] = {}
        self._tls = client_tls("edge-0")

    async def start(self, name: str) -> None:
        settings = {"processes": COUNT, "authorization": "any-trusted", "node_limit": NODES}
        registry = self.controller.registry
        process = await unit.start(registry, name, self.listeners[name], self.files, settings)
        self.processes[name] = process

    def kill(self, name: str) -> None:
        self.processes[name].kill()
        self.processes[name].join(DEADLINE)

    async def join(self, node: str, name: str = "cloudhub") -> None:
        edge = Edge(today=_of_today(node))
        port = self.listeners[name].getsockname()[1]
        await edge.connect(port, self._tls, f"/{PROJECT}/{node}/events", {"node_id": node})
        await edge.keepalive()
        self.edges[node] = edge

    async def next(self) -> Message:
        return await self.controller.receive(DEADLINE)

    async def told(self, operation: str, nodes: set[str]) -> None:
        """Assert that the next messages are about exactly these nodes, in any order."""
        seen = set()
        while seen != nodes:
            message = await self.next()
            assert message.operation == operation, message
            node = message.resource.removeprefix("node/")
            assert generation_of(message.content) == (V1_23 if _of_today(node) else V1_1)
            seen.add(node)
            assert seen <= nodes

    async def reaches_all(self, mark: str, nodes: list[str]) -> None:
        for node in nodes:
            message = Message.build(
                "edgecontroller", "resource", "insert", f"node/{node}/default/pod/{mark}", {}
            )
            await self.controller.send("cloudhub", message, DEADLINE)
        for node in nodes:
            while (await self.edges[node].receive()).resource != f"default/pod/{mark}":
                pass

    async def gone(self) -> list[str]:
        """Return the edges that have lost their connection; the others answer a ping."""

        async def lost(node: str, edge: Edge) -> str | None:
            try:
                await edge.is_served()
            except (OSError, asyncio.IncompleteReadError):
                return node
            return None

        found = await asyncio.gather(*(lost(*each) for each in self.edges.items()))
        return [node for node in found if node is not None]

    async def close(self) -> None:
        for edge in self.edges.values():
            await edge.leave()
        for process in self.processes.values():
            process.kill()
            process.join(DEADLINE)
            process.close()
        for listener in self.listeners.values():
            listener.close()
        for context in self.contexts.values():
            context.close()


def _of_today(node: str) -> bool:
    """Whether a node's edge speaks JSON: every other one does."""
    return node[-1] in "13579"


Launch = Callable[..., Any]


@pytest.fixture
async def launch(pki: Pki, client_tls: Callable[[str], ssl.SSLContext]) -> AsyncIterator[Launch]:
    async with AsyncExitStack() as stack:

        async def run(*, ports: bool) -> Fleet:
            fleet = Fleet(pki, client_tls, ports=ports)
            stack.push_async_callback(fleet.close)
            await asyncio.gather(*(fleet.start(name) for name in unit_names(COUNT)))
            return fleet

        yield run


@pytest.mark.timeout(120)
async def test_whichever_is_killed_the_others_edges_stay_and_everyone_is_reached_again(
    launch: Launch,
) -> None:
    fleet = await launch(ports=True)
    units = unit_names(COUNT)
    home = {f"edge-{number}": units[number % COUNT] for number in range(NODES)}
    await asyncio.gather(*(fleet.join(*each) for each in home.items()))
    await fleet.told("connected", set(home))
    await fleet.reaches_all("before", list(home))

    # Not the first: the directory learns of the loss when the new process says what it holds.
    fleet.kill("cloudhub-2")
    lost = {node for node, name in home.items() if name == "cloudhub-2"}
    assert set(await fleet.gone()) == lost
    await fleet.start("cloudhub-2")
    await fleet.told("disconnected", lost)
    # node_limit is their number, and the directory has room for just these again.
    await asyncio.gather(*(fleet.join(node, "cloudhub-3") for node in lost))
    await fleet.told("connected", lost)
    await fleet.reaches_all("after", list(home))

    # The first: the others' edges stay, and the new one learns who holds them.
    fleet.kill("cloudhub")
    lost = {node for node, name in home.items() if name == "cloudhub"}
    for node in home:  # what comes meanwhile waits for the new one
        waiting = Message.build("edgecontroller", "resource", "insert", f"node/{node}/a/pod/w", {})
        await fleet.controller.send("cloudhub", waiting)
    assert set(await fleet.gone()) == lost
    await fleet.start("cloudhub")
    for node in set(home) - lost:
        assert (await fleet.edges[node].receive()).resource == "a/pod/w"
    # Those that stayed are told of again: what was on its way to them may have been lost.
    await fleet.told("connected", set(home) - lost)
    await asyncio.gather(*(fleet.join(node, "cloudhub-2") for node in lost))
    await fleet.told("connected", lost)
    await fleet.reaches_all("in the end", list(home))
    assert not await fleet.gone()


@pytest.mark.timeout(120)
async def test_they_share_a_listening_socket(launch: Launch) -> None:
    fleet = await launch(ports=False)
    nodes = [f"edge-{number}" for number in range(NODES)]
    await asyncio.gather(*(fleet.join(node) for node in nodes))
    await fleet.told("connected", set(nodes))
    await fleet.reaches_all("mark", nodes)
