"""What a module uses to talk to others: beehive's operations, blocking.

`AsyncContext` (ipc/async_context.py) has the same ones for asyncio.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Final, TypeVar

from ipc.channel import Channel
from ipc.errors import ChannelError, Closed, Timeout
from ipc.message import Message
from ipc.receiving import Delivery
from ipc.registry import Line, Registry
from ipc.waiting import Deadline

Item = TypeVar("Item")

#: Seconds that an operation waits if it is not told otherwise, as beehive's.
DEFAULT_TIMEOUT: Final = 30.0


class BaseContext:
    """What both contexts share: who they speak for, and to whom."""

    def __init__(self, registry: Registry, name: str) -> None:
        self.registry = registry
        self.name = name
        self._line: Line = registry.line(name)
        self.unmatched_answers = 0
        """answers that came when nobody waited for them any more"""

    @property
    def group(self) -> str:
        return self._line.group

    def add_module(self, name: str) -> None:
        """Make channels for a module of this process's own making."""
        self.registry.add_module(name)

    def add_module_group(self, name: str, group: str) -> None:
        self.registry.add_module_group(name, group)

    def cleanup(self, name: str) -> None:
        """Forget a module's channels, in this process."""
        self.registry.cleanup(name)

    def _group_targets(self, group: str) -> list[str]:
        """Name the members of a group, without the module itself, which sends."""
        return [name for name in self.registry.members(group) if name != self.name]

    def _question(self, message: Message) -> Message:
        message.sync = True
        message.reply_to = self.name
        return message

    def _answers_of(self, message: Message) -> Channel:
        if not message.reply_to:
            raise ChannelError(
                f"message {message.id} answers nobody: it has no reply_to. Make it with "
                "response() or error() of the message that was received"
            )
        return self.registry.line(message.reply_to).answers


class Context(BaseContext):
    """The operations for a module that blocks; any of its threads may use them.

    A message is acknowledged by asking for the next one: until then it stays in the channel,
    and if the process dies it is delivered to its successor.
    """

    def __init__(self, registry: Registry, name: str) -> None:
        super().__init__(registry, name)
        self.stopping = False
        self._waiters: dict[str, Message | None] = {}
        self._answered = threading.Condition()
        self._pumping = False

    def send(self, module: str, message: Message, timeout: float | None = DEFAULT_TIMEOUT) -> None:
        """Send; on return the message is safe from the death of any module.

        Waits up to `timeout` seconds for room. Errors: UnknownModule, ModuleUnavailable,
        ChannelFull, MessageTooLarge, NotAMessage.
        """
        inbox = self.registry.line(module).inbox
        if not inbox.try_put(message, prefer_slot=self._line.slot):
            inbox.put(message, timeout=timeout)

    def send_to_group(
        self, group: str, message: Message, timeout: float | None = DEFAULT_TIMEOUT
    ) -> None:
        """Send to every other module of a group."""
        for name in self._group_targets(group):
            self.send(name, message, timeout)

    def receive(self, timeout: float | None = None) -> Message:
        """Receive the next message; Timeout after `timeout` seconds, Closed when stopping."""
        return self._next(self._line.inbox.receiver.try_get, timeout)

    def take(self, timeout: float | None = None) -> Delivery:
        """Receive a message that is acknowledged by its own `done`, not by the next receive."""
        return self._next(self._line.inbox.receiver.try_take, timeout)

    def __iter__(self) -> Iterator[Message]:
        """Iterate over what is received until the module is asked to stop."""
        while True:
            try:
                yield self.receive()
            except Closed:
                return

    def send_sync(
        self, module: str, message: Message, timeout: float | None = DEFAULT_TIMEOUT
    ) -> Message:
        """Send, and wait for the message that answers it; Timeout after `timeout` seconds."""
        deadline = Deadline(timeout)
        self._waiters[message.id] = None
        try:
            self.send(module, self._question(message), timeout)
            return self._await_answer(module, message, deadline)
        finally:
            del self._waiters[message.id]

    def send_to_group_sync(
        self, group: str, message: Message, timeout: float | None = DEFAULT_TIMEOUT
    ) -> list[Message]:
        """Send to every other module of a group, and wait for one answer from each."""
        deadline = Deadline(timeout)
        questions = [(name, message.clone()) for name in self._group_targets(group)]
        self._waiters.update({question.id: None for _, question in questions})
        try:
            for name, question in questions:
                self.send(name, self._question(question), deadline.remaining())
            return [self._await_answer(name, asked, deadline) for name, asked in questions]
        finally:
            for _, question in questions:
                del self._waiters[question.id]

    def send_resp(self, message: Message, timeout: float | None = DEFAULT_TIMEOUT) -> None:
        """Send an answer to whoever waits for it; it passes everything that is not an answer."""
        answers = self._answers_of(message)
        if not answers.try_put(message, prefer_slot=self._line.slot):
            answers.put(message, timeout=timeout)

    def stop(self) -> None:
        """Let `receive` end with Closed; safe in a signal handler."""
        self.stopping = True
        self._line.inbox.wake()

    def _next(self, attempt: Callable[[], Item | None], timeout: float | None) -> Item:
        """Wait for what `attempt` hands out, until the timeout or the module's end."""
        receiver = self._line.inbox.receiver
        if self.stopping:
            receiver.acknowledge()
            raise Closed(f"module {self.name!r} is asked to stop")
        item = attempt()
        deadline = Deadline(timeout)
        while item is None:
            arrivals = receiver.await_arrivals()
            item = attempt()
            if item is None:
                if self.stopping:
                    raise Closed(f"module {self.name!r} is asked to stop")
                if deadline.passed:
                    raise Timeout(f"no message came for {self.name!r} within {timeout:g} s")
                arrivals.wait(deadline.remaining())
            receiver.awake()
        return item

    def _await_answer(self, module: str, message: Message, deadline: Deadline) -> Message:
        """Wait until one of the threads that wait has read the answer for this one."""
        with self._answered:
            while (answer := self._waiters[message.id]) is None:
                if deadline.passed:
                    raise Timeout(
                        f"module {module!r} did not answer message {message.id} "
                        f"({message.operation} {message.resource}) in time"
                    )
                if self._pumping:
                    self._answered.wait(deadline.remaining())
                else:
                    self._pump(deadline)
        return answer

    def _pump(self, deadline: Deadline) -> None:
        """Read answers for all threads; called and left holding the condition."""
        receiver = self._line.answers.receiver
        answer = receiver.try_get()
        if answer is None:
            arrivals = receiver.await_arrivals()
            answer = receiver.try_get()
            if answer is None:
                self._pumping = True
                self._answered.release()
                try:
                    arrivals.wait(deadline.remaining())
                finally:
                    self._answered.acquire()
                    self._pumping = False
                    receiver.awake()
                    self._answered.notify_all()
                return
        if answer.parent_id in self._waiters:
            self._waiters[answer.parent_id] = answer
            self._answered.notify_all()
        else:
            self.unmatched_answers += 1
