"""Questions to edges, of CSI drivers: one at a time to each node.

An edge carries out one after the other anyway, and while it waits for a volume plugin that does not
answer, it handles no other message of the cloud (processVolume in edge/pkg/metamanager). So the
others wait here, where they end with their driver's patience.

A node that another replica holds is asked by that one (replicas/peers.py).
"""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

from ipc import ChannelError, Message
from ipc.errors import Timeout
from supervisor.api import ModuleContext

#: Seconds until an edge must have answered. It does after 60 s if its edged has failed to do it
#: (CSISyncMsgRespTimeout in common/constants/default.go), with nothing; Go's cloud waits no longer.
ANSWER: Final = 65.0
#: The part of ANSWER that must be left when an edge is asked: nobody would hear what it did.
_LEAST: Final = 0.1
#: Questions to one node that wait, that in flight included.
MOST_WAITING: Final = 64


class NoAnswer(Exception):
    """A question got no answer of its edge; the text says why."""


class Elsewhere(Protocol):
    """The other replicas, as far as they hold nodes."""

    def holder(self, node: str) -> str:
        """Return the other replica that holds a node; empty if there is none."""

    async def ask(self, replica: str, node: str, question: Message, seconds: float) -> Message:
        """Return the node's answer; raises NoAnswer."""


class _Line:
    """The questions to one node."""

    def __init__(self) -> None:
        self.waiting = 0
        self.turn = asyncio.Lock()
        self.asking: asyncio.Task[Message] | None = None


class Questions:
    """Asks edges, of all processes, through the channel of CloudHub's first one."""

    def __init__(self, context: ModuleContext, elsewhere: Elsewhere | None = None) -> None:
        self._context = context
        self._elsewhere = elsewhere
        self._lines: dict[str, _Line] = {}

    async def ask(self, node: str, question: Message) -> Message:
        """Return a node's answer; raises NoAnswer, at the latest after ANSWER seconds."""
        replica = self._elsewhere.holder(node) if self._elsewhere else ""
        if self._elsewhere and replica:
            return await self._elsewhere.ask(replica, node, question, ANSWER)
        return await self.ask_here(node, question, ANSWER)

    async def ask_here(self, node: str, question: Message, seconds: float) -> Message:
        """Return the answer of a node of this replica, as `ask` does."""
        line = self._lines.setdefault(node, _Line())
        if line.waiting >= MOST_WAITING:
            raise NoAnswer(f"{line.waiting} requests wait for node {node} already; try again later")
        line.waiting += 1
        deadline = asyncio.get_running_loop().time() + seconds
        try:
            async with asyncio.timeout_at(deadline), line.turn:
                return await self._exchange(node, line, question, deadline)
        except TimeoutError:
            raise NoAnswer(f"node {node} did not answer within {seconds:g} s") from None
        finally:
            line.waiting -= 1
            if not line.waiting:
                del self._lines[node]

    def disconnected(self, node: str) -> None:
        """End the question in flight to a node, whose session has ended in whatever way.

        The session itself says so too, unless its process was killed.
        """
        line = self._lines.get(node)
        if line is not None and line.asking is not None:
            line.asking.cancel()

    async def _exchange(
        self, node: str, line: _Line, question: Message, deadline: float
    ) -> Message:
        left = deadline - asyncio.get_running_loop().time()
        if left < ANSWER * _LEAST:
            raise TimeoutError
        # To CloudHub's own channel, as in Go: another process may hold the node.
        asking = asyncio.create_task(self._context.send_sync(self._context.name, question, left))
        line.asking = asking
        try:
            await asyncio.wait((asking,))
            if asking.cancelled():
                raise NoAnswer(f"node {node} was disconnected before it answered")
            return asking.result()
        except Timeout:
            raise TimeoutError from None
        except ChannelError as error:
            raise NoAnswer(str(error)) from error
        finally:
            line.asking = None
            asking.cancel()
