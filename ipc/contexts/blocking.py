"""The context for modules that block: beehive's operations, with threads.

`AsyncContext` (ipc/contexts/asynchronous.py) has the same operations for asyncio.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from ipc.contexts.base import DEFAULT_TIMEOUT, BaseContext
from ipc.contexts.questions import Failures, Question, no_answer
from ipc.errors import Closed
from ipc.message import Message
from ipc.registry import ChannelRegistry
from ipc.ring.layout import BATCH
from ipc.ring.receiver import Delivery
from ipc.ring.signals import Deadline

Item = TypeVar("Item")


class Context(BaseContext):
    """The operations for a module without an event loop; they are thread-safe.

    Acknowledgement: `receive` (and iterating, and `receive_many`) acknowledges what was returned
    before, so one thread at a time may call it. `take` is for handling messages concurrently: each
    is acknowledged by its own `done`. A message that is not acknowledged when the process ends is
    delivered again to its successor (docs/explanation/channels.md).
    """

    def __init__(self, registry: ChannelRegistry, name: str) -> None:
        super().__init__(registry, name)
        self.stopping = False
        self._questions: dict[str, Question] = {}
        self._answered = threading.Condition()
        self._pumping = False
        self._inbox = self._mailbox.inbox
        self._late = 0  # answers that may still arrive after their timeout

    def send(self, module: str, message: Message, timeout: float | None = DEFAULT_TIMEOUT) -> None:
        """Send a message; on return, the death of no module can lose it.

        Waits up to `timeout` seconds for room. Raises UnknownModule, ModuleUnavailable,
        ChannelFull, MessageTooLarge, NotAMessage.
        """
        mailbox = self._mailboxes.get(module) or self.registry.mailbox(module)
        if not mailbox.inbox.try_put(message, self._slot):
            mailbox.inbox.put(message, timeout=timeout)

    def send_many(
        self, module: str, messages: Sequence[Message], timeout: float | None = DEFAULT_TIMEOUT
    ) -> None:
        """Send messages in order, in batches: each costs a fraction of a `send`.

        Waits up to `timeout` seconds in total. Raises what `send` raises, with a note that has the
        number of messages sent before.
        """
        mailbox = self._mailboxes.get(module) or self.registry.mailbox(module)
        mailbox.inbox.put_many(messages, timeout, self._slot)

    def send_to_group(
        self, group: str, message: Message, timeout: float | None = DEFAULT_TIMEOUT
    ) -> None:
        """Send to every other module of a group, within `timeout` seconds in total.

        A failure to send to one member does not affect the others: the first error is raised at
        the end, with the others as notes.
        """
        deadline = Deadline(timeout)
        failures = Failures()
        for name in self._put_at_once(self._group_targets(group), message, failures):
            with failures:
                self.send(name, message, deadline.remaining())
        failures.raise_first()

    def receive(self, timeout: float | None = None) -> Message:
        """Receive a message. Raises Timeout after `timeout` seconds, Closed when stopping."""
        if self.stopping or self._late:
            return self._next(self._inbox.try_get, timeout)
        message = self._inbox.try_get()
        return self._await(self._inbox.try_get, timeout) if message is None else message

    def receive_many(self, most: int = BATCH, timeout: float | None = None) -> list[Message]:
        """Receive up to `most` messages of one sender, at least one, like `receive`.

        The next call that receives acknowledges all of them: if the process dies before it, each is
        delivered again to its successor.
        """
        attempt = self._inbox.try_get_many
        return self._next(lambda: attempt(most) or None, timeout)

    def take(self, timeout: float | None = None) -> Delivery:
        """Receive a message that is acknowledged by its own `done`, not by the next call.

        A message on its last delivery attempt is delivered in isolation: only when nothing else is
        in flight, and alone until it is done. So do not wait for more messages before you handle
        those that you have.
        """
        return self._next(self._mailbox.inbox.receiver.try_take, timeout)

    def __iter__(self) -> Iterator[Message]:
        """Iterate over received messages until the module is asked to stop."""
        while True:
            try:
                yield self.receive()
            except Closed:
                return

    def send_sync(
        self, module: str, message: Message, timeout: float | None = DEFAULT_TIMEOUT
    ) -> Message:
        """Send a message and return its answer. Raises Timeout after `timeout` seconds.

        Also raises what `send` raises. An answer that arrives later is dropped and counted.
        """
        deadline = Deadline(timeout)
        question = self._ask(module, message)
        try:
            self.send(module, question.message, timeout)
            return self._await_answer(question, deadline)
        finally:
            del self._questions[question.message.id]

    def send_to_group_sync(
        self, group: str, message: Message, timeout: float | None = DEFAULT_TIMEOUT
    ) -> list[Message]:
        """Send to every other module of a group, and return one answer from each.

        All are asked and awaited, within `timeout` seconds in total; then the first error is
        raised, with the others as notes.
        """
        deadline = Deadline(timeout)
        questions = [self._ask(name, message.clone()) for name in self._group_targets(group)]
        failures = Failures()
        answers = []
        asked = []
        try:
            for question in questions:
                with failures:
                    self.send(question.module, question.message, deadline.remaining())
                    asked.append(question)
            for question in asked:
                with failures:
                    answers.append(self._await_answer(question, deadline))
        finally:
            for question in questions:
                del self._questions[question.message.id]
        failures.raise_first()
        return answers

    def send_resp(self, message: Message, timeout: float | None = DEFAULT_TIMEOUT) -> None:
        """Send an answer to the module that waits for it; it overtakes messages in the inbox."""
        answers = self._answers_of(message)
        if not answers.try_put(message, self._slot):
            answers.put(message, timeout=timeout)

    def stop(self) -> None:
        """Ask the module to stop: `receive` raises Closed. Safe in a signal handler."""
        self.stopping = True
        self._mailbox.inbox.wake()

    def _next(self, attempt: Callable[[], Item | None], timeout: float | None) -> Item:
        """Return what `attempt` receives, waiting for it until the timeout or a stop."""
        if self._late:
            self._drop_late()
        if self.stopping:
            self._inbox.receiver.acknowledge()
            raise self._stopped()
        item = attempt()
        return self._await(attempt, timeout) if item is None else item

    def _await(self, attempt: Callable[[], Item | None], timeout: float | None) -> Item:
        receiver = self._inbox.receiver
        deadline = Deadline(timeout)
        item = None
        while item is None:
            arrivals = receiver.await_arrivals()
            item = attempt()
            if item is None:
                if self.stopping:
                    raise self._stopped()
                if deadline.passed:
                    raise self._nothing_came(timeout)
                arrivals.wait(deadline.remaining())
                item = attempt()
            receiver.awake()
        return item

    def _ask(self, module: str, message: Message) -> Question:
        """Register the question, which has to happen before it is sent."""
        question = Question(message, module, self.registry.mailbox(module).inbox)
        question.message = self._question(message, self._questions, question)
        return question

    def _await_answer(self, question: Question, deadline: Deadline) -> Message:
        """Wait until this thread, or another one that waits, has read the answer."""
        with self._answered:
            while question.answer is None:
                if self._pumping:
                    self._answered.wait(deadline.remaining())
                else:
                    self._pump(deadline)
                if question.answer is None and deadline.passed:
                    question.inbox.count_unanswered()
                    self._late += 1
                    raise no_answer(question.module, question.message)
        question.inbox.count_round_trip(question.answered - question.asked)
        return question.answer

    def _pump(self, deadline: Deadline) -> None:
        """Read one answer, for any thread. The condition is held on entry and on return."""
        receiver = self._mailbox.answers.receiver
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
                answer = receiver.try_get()
                if len(self._questions) > 1:
                    self._answered.notify_all()  # another thread may have to read now
            receiver.awake()
        if answer is not None:
            self._hand_over(answer)

    def _drop_late(self) -> None:
        """Drop late answers, so that they do not fill the channel."""
        with self._answered:
            while not self._pumping and (answer := self._mailbox.answers.receiver.try_get()):
                self._hand_over(answer)

    def _hand_over(self, answer: Message) -> None:
        question = self._questions.get(answer.parent_id)
        if question is None or question.answer is not None:
            self.unmatched_answers += 1
            self._late = max(0, self._late - 1)
        else:
            question.answered = time.perf_counter()
            question.answer = answer
            if len(self._questions) > 1:
                self._answered.notify_all()
