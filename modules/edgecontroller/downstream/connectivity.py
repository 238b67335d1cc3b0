"""Which edge nodes are connected: what cloudhub says, and what it answers when it is asked.

Cloudhub tells of each connection that begins or ends. When it is killed, nobody tells of those
that ended with it, and when this module has been, it does not know which there are. So it asks,
by KubeEdge's own question (`request_exist`, cloud/pkg/cloudhub/channelq/channelq.go): about every
node after a start, and about one from which nothing has come for longer than an edge is silent.
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
from modules.edgecontroller.messages import CLOUDHUB, GROUP, SOURCE
from supervisor.api import ModuleContext

REQUEST_EXIST: Final = "request_exist"

#: Seconds without a message from a node after which cloudhub is asked. Edges report their status
#: every 10 s, by default.
SILENCE: Final = 60.0

#: Seconds between two looks for silent nodes, and for an answer.
_LOOK: Final = 15.0
_ANSWER: Final = 10.0

#: Questions at a time.
_AT_ONCE: Final = 32

log = logging.getLogger(__name__)


class Connectivity:
    """The connected nodes; `connections` says what is known, and is empty of what is not."""

    def __init__(
        self,
        connections: dict[str, bool],
        context: ModuleContext,
        *,
        on_found: Callable[[str], None],
        on_gone: Callable[[str], None],
    ) -> None:
        """Set up; the callbacks get the nodes that asking has shown to be there, or not to be.

        A node of which cloudhub can say neither, since it is not there itself, counts as found:
        what is sent to it waits with the question.
        """
        self._connections = connections
        self._context = context
        self._on_found = on_found
        self._on_gone = on_gone
        self._heard: dict[str, float] = {}
        self._room = asyncio.Semaphore(_AT_ONCE)
        self._asking: dict[str, asyncio.Task[None]] = {}
        self._tasks: asyncio.TaskGroup

    def connected(self, node: str) -> None:
        self._no_need_to_ask(node)
        self._connections[node] = True
        self._heard[node] = time.monotonic()

    def disconnected(self, node: str) -> None:
        self._no_need_to_ask(node)
        self._connections[node] = False

    def heard_from(self, node: str) -> None:
        """Take a message as the sign that a node is connected, if nothing is known of it."""
        self._connections.setdefault(node, True)
        self._heard[node] = time.monotonic()

    def ask(self, node: str) -> None:
        """Ask cloudhub about a node, unless that is under way; only while `run` runs."""
        if node not in self._asking:
            asking = self._asking[node] = self._tasks.create_task(self._ask(node))
            asking.add_done_callback(lambda _: self._asking.pop(node))

    async def run(self) -> None:
        """Ask about nodes that have been silent for long, until cancelled.

        What asking or a callback raises is raised here.
        """
        async with asyncio.TaskGroup() as self._tasks:
            while True:
                await asyncio.sleep(min(_LOOK, SILENCE / 4))
                since = time.monotonic() - SILENCE
                for node, is_connected in self._connections.items():
                    if is_connected and self._heard.get(node, 0.0) < since:
                        self.ask(node)

    def _no_need_to_ask(self, node: str) -> None:
        task = self._asking.get(node)
        if task and task is not asyncio.current_task():
            task.cancel()

    async def _ask(self, node: str) -> None:
        async with self._room:
            asked = time.monotonic()
            is_there = await self._is_there(node)
        if self._heard.get(node, 0.0) > asked:
            is_there = True  # it has said something meanwhile, whatever cloudhub says
        elif is_there:
            self.heard_from(node)
        if is_there is False:
            self._on_gone(node)
        else:
            self._on_found(node)

    async def _is_there(self, node: str) -> bool | None:
        resource = f"{message_resource.NODE}/{node}"
        question = Message.build(SOURCE, GROUP, REQUEST_EXIST, resource)
        try:
            answer = await self._context.send_sync(CLOUDHUB, question, _ANSWER)
        except ChannelError as error:
            log.debug("cloudhub does not say whether node %s is connected: %s", node, error)
            return None
        return answer.operation != OP_ERROR
