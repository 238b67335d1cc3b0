"""Messages on their way to one channel, in order: who puts them there never waits."""

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

#: Messages that are sent together, at most.
_BATCH: Final = 64


class ChannelSender(Generic[Tag]):
    """Sends one message after the other with `send`, for as long as `run` runs.

    When more than one waits, `send_some` sends as many of them as there is room for at once and
    says how many: each takes less work then, and the receiver is woken once for all of them.

    A full channel is waited out. A message that can never be sent is dropped; the first of each
    cause is logged. `tag` goes with each message: `sent(tag)` is called when it has left,
    `dropped(message, tag)` before that if it was dropped.
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
        self._items: deque[tuple[Message, Tag]] = deque()
        self._failures = FailureLog(log)
        self._filled = asyncio.Event()
        self.idle = asyncio.Event()
        """nothing waits"""
        self.idle.set()

    def __len__(self) -> int:
        return len(self._items)

    def put(self, message: Message, tag: Tag) -> None:
        self._items.append((message, tag))
        if len(self._items) == 1:
            self.idle.clear()
            self._filled.set()

    def clear(self) -> None:
        """Forget what waits; the one that is being sent is not called back."""
        while len(self._items) > 1:
            self._sent(self._items.pop()[1])

    async def run(self) -> None:
        while True:
            await self._filled.wait()
            while self._items:
                for _ in range(await self._deliver()):
                    self._sent(self._items.popleft()[1])
            self._filled.clear()
            self.idle.set()

    async def _deliver(self) -> int:
        """Send the first messages, or drop the first one; how many."""
        while True:
            message = self._items[0][0]
            try:
                sent = self._send_together()
                if not sent:
                    await self._send(message)
                    sent = 1
            except ChannelFull as error:
                # It is read again when there is room; until then what comes waits here.
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

    def _send_together(self) -> int:
        if len(self._items) == 1:
            return 0
        return self._send_some([message for message, _ in islice(self._items, _BATCH)])
