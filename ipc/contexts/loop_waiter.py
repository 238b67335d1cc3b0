"""Waiting for messages in an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from ipc.message import Message
from ipc.ring.receiver import Receiver
from ipc.ring.signals import Deadline

#: Messages handed out in a row until other tasks of the loop get their turn.
_TURN: Final = 64


class LoopWaiter:
    """The waiting side of a channel: senders signal all the time it exists."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._arrivals = receiver.await_arrivals()
        self._waiters: list[asyncio.Future[None]] = []
        self._on_arrival = self._wake_waiters
        self._turn = 0
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._arrivals.fileno(), self._wake)

    def should_yield(self) -> bool:
        """Whether other tasks are to run now, however many messages there are."""
        self._turn += 1
        return self._turn % _TURN == 0

    async def wait(self, deadline: Deadline) -> None:
        """Wait until a message may have come, or the deadline has."""
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
        """Call `handle` with message after message as they come, until `stopping`."""
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
        """Hand over what there is, up to a turn; whether that was all.

        Most often that is one message. Senders may signal while it is handled: only when there
        are more is it cheaper to say that nobody sleeps, and to look once more afterwards.
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
