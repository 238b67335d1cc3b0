"""Which edge nodes are connected: from cloudhub's messages, and from its answers.

Cloudhub reports each connection that begins or ends. If cloudhub crashes, nobody reports the
connections that were lost with it; and after a crash of a controller, it knows no connections.
So a controller asks with KubeEdge's own request (`request_exist`,
cloud/pkg/cloudhub/channelq/channelq.go): about nodes after a start, and about each node from which
no message has come for longer than an edge is silent.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Final

from ipc import ChannelError, Message
from ipc.message import OP_ERROR
from modules.common import message_resource
from modules.common.wire.generations import generation_of
from supervisor.api import ModuleContext

REQUEST_EXIST: Final = "request_exist"

_CLOUDHUB: Final = "cloudhub"

#: Seconds without a message from a node after which cloudhub is asked. By default edges report
#: their status every 10 s.
SILENCE: Final = 60.0

#: Interval of checks for silent nodes, and timeout of a request, in seconds.
_CHECK_INTERVAL: Final = 15.0
_TIMEOUT: Final = 10.0

#: Limit of requests in flight.
_MAX_IN_FLIGHT: Final = 32

log = logging.getLogger(__name__)


class Connectivity:
    """Keeps `connections` up to date: node -> connected; nodes of unknown state are absent."""

    def __init__(
        self,
        connections: dict[str, bool],
        context: ModuleContext,
        *,
        sender: tuple[str, str],
        on_found: Callable[[str, str], None],
        on_gone: Callable[[str], None],
        asks_silent: bool = True,
        insists: bool = False,
    ) -> None:
        """Set up; `sender` is the source and the group of the questions.

        The callbacks get the nodes that cloudhub has answered to be connected, or not. `on_found`
        gets the node's protocol generation too; empty if cloudhub has not told it.
        If cloudhub does not answer, the node counts as connected: messages to it wait in the
        channel anyway. With `insists`, as one of several replicas, it is asked until it answers:
        the node may be elsewhere. With `asks_silent`, it is asked about silent nodes too.
        """
        self._insists = insists
        self._asks_silent = asks_silent
        self._connections = connections
        self._context = context
        self._sender = sender
        self._on_found = on_found
        self._on_gone = on_gone
        self._heard: dict[str, float] = {}
        self._room = asyncio.Semaphore(_MAX_IN_FLIGHT)
        self._asking: dict[str, asyncio.Task[None]] = {}
        self._tasks: asyncio.TaskGroup

    def connected(self, node: str) -> None:
        self._cancel_request(node)
        self._connections[node] = True
        self._heard[node] = time.monotonic()

    def disconnected(self, node: str) -> None:
        self._cancel_request(node)
        self._connections[node] = False

    def forget(self, node: str) -> None:
        """Forget a node that is gone; nothing is known of its connection then."""
        self.disconnected(node)
        self._connections.pop(node, None)
        self._heard.pop(node, None)

    def heard_from(self, node: str) -> None:
        """Count a node that has sent a message as connected, if its state is unknown."""
        self._connections.setdefault(node, True)
        self._heard[node] = time.monotonic()

    def is_asking(self, node: str) -> bool:
        """Whether cloudhub is being asked about a node."""
        return node in self._asking

    def ask(self, node: str) -> None:
        """Ask cloudhub about a node, unless a request is in flight; only while `run` runs."""
        if node not in self._asking:
            asking = self._asking[node] = self._tasks.create_task(self._ask(node))
            asking.add_done_callback(lambda task: self._asked(node, task))

    async def run(self) -> None:
        """Serve `ask`, and ask about silent nodes, until cancelled.

        Raises what a request or a callback raises.
        """
        async with asyncio.TaskGroup() as self._tasks:
            while True:
                await asyncio.sleep(min(_CHECK_INTERVAL, SILENCE / 4))
                since = time.monotonic() - SILENCE if self._asks_silent else 0.0
                for node, is_connected in self._connections.items():
                    if is_connected and self._heard.get(node, 0.0) < since:
                        self.ask(node)

    def _cancel_request(self, node: str) -> None:
        task = self._asking.get(node)
        if task and task is not asyncio.current_task():
            del self._asking[node]
            task.cancel()

    def _asked(self, node: str, task: asyncio.Task[None]) -> None:
        if self._asking.get(node) is task:
            del self._asking[node]

    async def _ask(self, node: str) -> None:
        while True:
            async with self._room:
                asked = time.monotonic()
                is_there, generation = await self._is_there(node)
            if is_there is not None or not self._insists:
                break
            await asyncio.sleep(_CHECK_INTERVAL)
        if self._heard.get(node, 0.0) > asked:
            is_there = True  # it has sent a message meanwhile
        elif is_there:
            self.heard_from(node)
        if is_there is False:
            self._on_gone(node)
        else:
            self._on_found(node, generation)

    async def _is_there(self, node: str) -> tuple[bool | None, str]:
        resource = f"{message_resource.NODE}/{node}"
        question = Message.build(*self._sender, REQUEST_EXIST, resource)
        try:
            answer = await self._context.send_sync(_CLOUDHUB, question, _TIMEOUT)
        except ChannelError as error:
            log.debug("node %s: cannot ask cloudhub whether it is connected: %s", node, error)
            return None, ""
        return answer.operation != OP_ERROR, generation_of(answer.content)
