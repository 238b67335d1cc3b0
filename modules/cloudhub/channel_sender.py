"""A FIFO queue of messages to one channel: putting a message never blocks."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from itertools import islice
from typing import Final, Generic, TypeVar

from ipc import ChannelError, ChannelFull, Message
from modules.common.failure_log import FailureLog

log = logging.getLogger(__name__)

Tag = TypeVar("Tag")

#: Messages in one batch, at most.
_BATCH: Final = 64


class ChannelSender(Generic[Tag]):
    """Sends the queued messages in order with `send`, as long as `run` runs.

    If several are queued, `send_some` sends a batch of as many as fit into the channel and returns
    their number: that takes less work per message, and wakes the receiver once.

    A send to a full channel is retried. A message that can never be sent is dropped; the first of
    each cause is logged. `dropped(message, error)` is called for such a message, and `sent(tag)`
    for every message that leaves the queue, with the tag that it was put with.
    """

    def __init__(
        self,
        name: str,
        send: Callable[[Message], Awaitable[None]],
        *,
        send_some: Callable[[Sequence[Message]], int] = lambda _: 0,
        sent: Callable[[Tag], None],
        dropped: Callable[[Message, ChannelError], None],
    ) -> None:
        self._name = name
        self._send = send
        self._send_some = send_some
        self._sent = sent
        self._dropped = dropped
        self._queue: deque[tuple[Message, Tag]] = deque()
        self._failures = FailureLog(log)
        self._filled = asyncio.Event()
        self.idle = asyncio.Event()
        """set while the queue is empty"""
        self.idle.set()

    def __len__(self) -> int:
        return len(self._queue)

    def put(self, message: Message, tag: Tag) -> None:
        self._queue.append((message, tag))
        if len(self._queue) == 1:
            self.idle.clear()
            self._filled.set()

    def clear(self) -> None:
        """Drop all queued messages but the first, which is being sent."""
        while len(self._queue) > 1:
            self._sent(self._queue.pop()[1])

    async def run(self) -> None:
        while True:
            await self._filled.wait()
            while self._queue:
                for _ in range(await self._send_next()):
                    self._sent(self._queue.popleft()[1])
            self._filled.clear()
            self.idle.set()

    async def _send_next(self) -> int:
        """Send a batch, or drop the first message; return how many leave the queue."""
        while True:
            message = self._queue[0][0]
            try:
                sent = self._send_batch()
                if not sent:
                    await self._send(message)
                    sent = 1
            except ChannelFull as error:
                # Retried: back-pressure is applied by whoever fills this queue.
                self._failures.failed("full", "", f"{self._name} does not keep up: {error}")
            except ChannelError as error:
                first = f"first {message.operation} {message.resource}: {error}"
                text = f"messages for {self._name} are dropped, {first}"
                self._failures.failed("unsent", str(error), text)
                self._dropped(message, error)
                return 1
            else:
                self._failures.worked("full", f"{self._name} takes messages again")
                self._failures.worked("unsent")
                return sent

    def _send_batch(self) -> int:
        if len(self._queue) == 1:
            return 0
        return self._send_some([message for message, _ in islice(self._queue, _BATCH)])
