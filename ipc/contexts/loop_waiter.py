"""Waiting for the messages of one channel in an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from ipc.message import Message
from ipc.ring.receiver import Receiver
from ipc.ring.signals import Deadline

#: Messages received in a row before the loop runs other tasks.
_TURN: Final = 64


class LoopWaiter:
    """The waiters of one channel in an event loop, woken by its eventfd."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._arrivals = receiver.await_arrivals()
        self._waiters: list[asyncio.Future[None]] = []
        self._on_arrival = self._wake_waiters
        self._turn = 0
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._arrivals.fileno(), self._wake)

    def should_yield(self) -> bool:
        """Whether the loop is to run other tasks now, even if there are messages."""
        self._turn += 1
        return self._turn % _TURN == 0

    async def wait(self, deadline: Deadline) -> None:
        """Wait until a message may have arrived, or until the deadline."""
        self._receiver.await_arrivals()
        if self._receiver.pending():
            return
        waiter = self._loop.create_future()
        self._waiters.append(waiter)
        left = deadline.remaining()
        alarm = None if left is None else self._loop.call_later(left, self._wake_waiters)
        try:
            await waiter
        finally:
            self._waiters.remove(waiter)
            if alarm:
                alarm.cancel()
            if not self._waiters:
                self._receiver.awake()

    async def consume(
        self, handle: Callable[[Message], None], stopping: Callable[[], bool]
    ) -> None:
        """Call `handle` with each message as it arrives, until `stopping` returns True."""
        over = self._loop.create_future()

        def take_some() -> None:
            if over.done():
                return
            try:
                if not self._hand_over(handle, stopping):
                    self._loop.call_soon(take_some)
                elif stopping():
                    over.set_result(None)
            except BaseException as error:
                over.set_exception(error)

        self._on_arrival = take_some
        self._receiver.await_arrivals()
        take_some()
        try:
            await over
        finally:
            self._on_arrival = self._wake_waiters
            self._receiver.awake()

    def _hand_over(self, handle: Callable[[Message], None], stopping: Callable[[], bool]) -> bool:
        """Handle the messages that are there, up to _TURN of them; return whether these were all.

        Usually there is one message, and senders may signal while it is handled. Only with more
        than one is it cheaper to clear SLEEPING first and to look once more afterwards.
        """
        receiver = self._receiver
        for count in range(_TURN):
            if stopping():
                receiver.acknowledge()
                return True
            message = receiver.try_get()
            if message is None:
                break
            if count == 1:
                receiver.awake()
            handle(message)
        if count < 2:
            return True
        receiver.await_arrivals()
        return message is None and not receiver.pending()

    def close(self) -> None:
        self._loop.remove_reader(self._arrivals.fileno())

    def _wake(self) -> None:
        self._arrivals.clear()
        self._on_arrival()

    def _wake_waiters(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
