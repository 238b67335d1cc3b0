"""The context for modules that use asyncio: beehive's operations as coroutines."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from typing import Any, TypeVar

from ipc.channel import Channel
from ipc.contexts.base import DEFAULT_TIMEOUT, BaseContext
from ipc.contexts.loop_waiter import LoopWaiter
from ipc.contexts.questions import Failures, no_answer
from ipc.errors import ChannelError, Closed
from ipc.message import Message
from ipc.registry import ChannelRegistry
from ipc.ring.layout import BATCH
from ipc.ring.receiver import Delivery, Receiver
from ipc.ring.signals import Deadline, EventFdWatch

Item = TypeVar("Item")


class AsyncContext(BaseContext):
    """The operations for a module with an event loop, for any task of that loop.

    Acknowledgement: `receive` (and iterating, and `receive_many`) acknowledges what was returned
    before, so one task at a time may call it. `take` is for handling messages concurrently: each
    is acknowledged by its own `done`. A message that is not acknowledged when the process ends is
    delivered again to its successor (docs/explanation/channels.md).
    """

    def __init__(self, registry: ChannelRegistry, name: str) -> None:
        super().__init__(registry, name)
        self._waiters: dict[str, asyncio.Future[Message]] = {}
        self._answers: Receiver | None = None
        self._inbox: LoopWaiter | None = None
        self._stop_requested: asyncio.Event = asyncio.Event()

    @property
    def stopping(self) -> bool:
        return self._stop_requested.is_set()

    async def stopped(self) -> None:
        """Wait until the module is asked to stop."""
        await self._stop_requested.wait()

    def stop(self) -> None:
        """Ask the module to stop: iterating ends, and `receive` raises Closed."""
        self._stop_requested.set()
        self._mailbox.inbox.wake()

    async def send(
        self, module: str, message: Message, timeout: float | None = DEFAULT_TIMEOUT
    ) -> None:
        """Send a message; on return, the death of no module can lose it.

        Waits up to `timeout` seconds for room. Raises UnknownModule, ModuleUnavailable,
        ChannelFull, MessageTooLarge, NotAMessage.
        """
        mailbox = self._mailboxes.get(module) or self.registry.mailbox(module)
        if not mailbox.inbox.try_put(message, self._slot):
            await self._put_later(mailbox.inbox, message, timeout)

    async def send_many(
        self, module: str, messages: Sequence[Message], timeout: float | None = DEFAULT_TIMEOUT
    ) -> None:
        """Send messages in order, in batches: each costs a fraction of a `send`.

        Waits up to `timeout` seconds in total. Raises what `send` raises, with a note that has the
        number of messages sent before.
        """
        mailbox = self._mailboxes.get(module) or self.registry.mailbox(module)
        with mailbox.inbox.putting(messages, self._slot) as attempt:
            if not attempt():
                await _when_there_is_room(mailbox.inbox, attempt, timeout)

    async def send_to_group(
        self, group: str, message: Message, timeout: float | None = DEFAULT_TIMEOUT
    ) -> None:
        """Send to every other module of a group, within `timeout` seconds in total.

        A failure to send to one member does not affect the others: the first error is raised at
        the end, with the others as notes.
        """
        failures = Failures()
        if full := self._put_at_once(self._group_targets(group), message, failures):
            with failures:
                await _all(self.send(name, message, timeout) for name in full)
        failures.raise_first()

    async def receive(self, timeout: float | None = None) -> Message:
        """Receive a message. Raises Timeout after `timeout` seconds, Closed when stopping."""
        receiver = self._mailbox.inbox.receiver
        return await self._next(receiver.try_get, timeout)

    async def receive_many(self, most: int = BATCH, timeout: float | None = None) -> list[Message]:
        """Receive up to `most` messages of one sender, at least one, like `receive`.

        The next call that receives acknowledges all of them: if the process dies before it, each is
        delivered again to its successor.
        """
        attempt = self._mailbox.inbox.try_get_many
        return await self._next(lambda: attempt(most) or None, timeout)

    async def take(self, timeout: float | None = None) -> Delivery:
        """Receive a message that is acknowledged by its own `done`, not by the next call.

        A message on its last delivery attempt is delivered in isolation: only when nothing else is
        in flight, and alone until it is done. So do not wait for more messages before you handle
        those that you have.
        """
        return await self._next(self._mailbox.inbox.receiver.try_take, timeout)

    async def __aiter__(self) -> AsyncIterator[Message]:
        """Iterate over received messages until the module is asked to stop."""
        while True:
            try:
                message = await self.receive()
            except Closed:
                return
            yield message

    async def consume(self, handle: Callable[[Message], None]) -> None:
        """Call `handle` with each message until the module is asked to stop.

        For handlers that do not wait: like iterating, but without a future and a task switch for
        each message. A message is acknowledged when `handle` has returned. An exception of
        `handle` is raised here, and the message is delivered again to the module's successor.
        """
        await self._open_inbox().consume(handle, self._stop_requested.is_set)

    async def send_sync(
        self, module: str, message: Message, timeout: float | None = DEFAULT_TIMEOUT
    ) -> Message:
        """Send a message and return its answer. Raises Timeout after `timeout` seconds.

        Also raises what `send` raises. An answer that arrives later is dropped and counted.
        """
        self._listen_for_answers()
        inbox = self.registry.mailbox(module).inbox
        waiter: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        message = self._question(message, self._waiters, waiter)
        asked, deadline = time.perf_counter(), Deadline(timeout)
        try:
            await self.send(module, message, timeout)
            async with asyncio.timeout(deadline.remaining()):
                answer = await waiter
        except ChannelError:
            raise
        except TimeoutError as error:
            inbox.count_unanswered()
            raise no_answer(module, message) from error
        finally:
            del self._waiters[message.id]
        inbox.count_round_trip(time.perf_counter() - asked)
        return answer

    async def send_to_group_sync(
        self, group: str, message: Message, timeout: float | None = DEFAULT_TIMEOUT
    ) -> list[Message]:
        """Send to every other module of a group, and return one answer from each.

        All are asked and awaited, within `timeout` seconds in total; then the first error is
        raised, with the others as notes.
        """
        return await _all(
            self.send_sync(name, message.clone(), timeout) for name in self._group_targets(group)
        )

    async def send_resp(self, message: Message, timeout: float | None = DEFAULT_TIMEOUT) -> None:
        """Send an answer to the module that waits for it; it overtakes messages in the inbox."""
        answers = self._answers_of(message)
        if not answers.try_put(message, self._slot):
            await self._put_later(answers, message, timeout)

    def close(self) -> None:
        """Remove the channels' descriptors from the event loop, before it is closed."""
        if self._inbox:
            self._inbox.close()
            self._inbox = None
        if self._answers:
            asyncio.get_running_loop().remove_reader(self._answers.await_arrivals().fileno())
            self._answers = None

    async def _put_later(self, channel: Channel, message: Message, timeout: float | None) -> None:
        await _when_there_is_room(channel, lambda: channel.try_put(message, self._slot), timeout)

    def _open_inbox(self) -> LoopWaiter:
        if self._inbox is None:
            self._inbox = LoopWaiter(self._mailbox.inbox.receiver)
        return self._inbox

    async def _next(self, attempt: Callable[[], Item | None], timeout: float | None) -> Item:
        inbox = self._inbox or self._open_inbox()
        if inbox.should_yield():
            await asyncio.sleep(0)
        deadline: Deadline | None = None  # made only when it is needed
        while True:
            if self.stopping:
                self._mailbox.inbox.receiver.acknowledge()
                raise self._stopped()
            item = attempt()
            if item is not None:
                return item
            deadline = deadline or Deadline(timeout)
            if deadline.passed:
                raise self._nothing_came(timeout)
            await inbox.wait(deadline)

    def _listen_for_answers(self) -> None:
        if self._answers is None:
            self._answers = self._mailbox.answers.receiver
            arrivals = self._answers.await_arrivals()
            asyncio.get_running_loop().add_reader(arrivals.fileno(), self._answer_waiters)
            self._answer_waiters()

    def _answer_waiters(self) -> None:
        if self._answers is None:
            return
        self._answers.await_arrivals().clear()
        while (answer := self._answers.try_get()) is not None:
            waiter = self._waiters.get(answer.parent_id)
            if waiter is None or waiter.done():
                self.unmatched_answers += 1
            else:
                waiter.set_result(answer)


async def _all(operations: Iterable[Coroutine[Any, Any, Item]]) -> list[Item]:
    """Run all concurrently to their ends; return their results, or raise the first error."""
    tasks = [asyncio.ensure_future(operation) for operation in operations]
    failures = Failures()
    results = []
    try:
        for task in tasks:
            with failures:
                results.append(await task)
    finally:
        for task in tasks:
            task.cancel()
    failures.raise_first()
    return results


async def _when_there_is_room(
    channel: Channel, attempt: Callable[[], bool], timeout: float | None
) -> None:
    deadline = Deadline(timeout)
    room = channel.await_room()
    try:
        while not attempt():
            if deadline.passed:
                raise channel.full_error()
            await _readable(room, deadline)
    finally:
        channel.forget_room(room)


async def _readable(watch: EventFdWatch, deadline: Deadline) -> None:
    """Wait in the event loop for a signal, or until the deadline."""
    loop = asyncio.get_running_loop()
    signalled = loop.create_future()

    def on_signal() -> None:
        watch.clear()
        if not signalled.done():
            signalled.set_result(None)

    loop.add_reader(watch.fileno(), on_signal)
    try:
        await asyncio.wait([signalled], timeout=deadline.remaining())
    finally:
        loop.remove_reader(watch.fileno())


def open_contexts(modules: dict[str, str]) -> dict[str, AsyncContext]:
    """Return contexts for modules (name -> group) that all run in this event loop."""
    registry = ChannelRegistry()
    for name, group in modules.items():
        registry.add_module(name, group)
    return {name: AsyncContext(registry, name) for name in modules}
