"""A channel compared with a model, with deaths of senders and readers at any step."""

from __future__ import annotations

import contextlib
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ipc import Channel, ChannelFull, Delivery, Message
from ipc.ring.layout import KEPT, MIB
from ipc.ring.receiver import Receiver
from ipc.ring.sender import Putting, Sender
from tests.ipc import steps

SENDERS = 3
SIZES = st.sampled_from([0, 1, 100, 5000, 70_000, KEPT, 2 * MIB])
COUNTS = st.sampled_from([1, 2, 5, 70, 130])
STEPS = st.integers(1, 700)


class Sent:
    """The model's state of one message."""

    def __init__(self, number: int, size: int, *, sure: bool) -> None:
        self.number = number
        self.size = size
        self.sure = sure
        """its send has returned; otherwise the sender died in it"""
        self.handed_out = 0
        self.perhaps = 0
        """times that a reader died while it may have been delivering it"""
        self.done = False
        self.perhaps_done = False


class ChannelMachine(RuleBasedStateMachine):
    """A death ends a call in this process: a new Sender or Receiver is its successor."""

    @initialize(capacity=st.sampled_from([4096, MIB, 8 * MIB]), kills=st.sampled_from([1, 2, 200]))
    def begin(self, capacity: int, kills: int) -> None:
        self.channel = Channel("inbox", capacity=capacity, max_deliveries=kills)
        self.letters: list[int] = []
        self.channel._set_aside = self.set_aside  # type: ignore[method-assign]
        self.sent: list[list[Sent]] = [[] for _ in range(SENDERS)]
        self.senders = [self.new_sender(index) for index in range(SENDERS)]
        self.reader = self.new_reader()
        self.got: list[Sent] = []
        self.taken: dict[int, tuple[Sent, Delivery]] = {}
        self.next_number = 0
        self.rested = True
        """the reader has found no message since it acknowledged the last one, and has made room"""

    def set_aside(self, payload: bytes, deliveries: int, reason: str) -> None:
        from ipc.message import decode

        self.letters.append(int(decode(payload).resource))

    def new_sender(self, index: int) -> Sender:
        channel = self.channel
        sender = Sender(channel._segment, channel._arrived, channel.capacity)
        sender._claim(index)
        return sender

    def put(self, sender: int, message: Message) -> bool:
        return self.senders[sender].putter(self.channel._unavailable)(message, sender)

    def put_many(self, sender: int, messages: list[Message]) -> Putting:
        """Put as many as there is room for; the result has their number."""
        unavailable, end = self.channel._unavailable, self.senders[sender]
        putting = Putting(messages, lambda batch: end.put_batch(batch, unavailable, sender))
        putting()
        return putting

    def new_reader(self) -> Receiver:
        self.channel._receiver = None
        return self.channel.receiver

    # Sending

    @rule(sender=st.integers(0, SENDERS - 1), size=SIZES)
    def send(self, sender: int, size: int) -> None:
        message = self.message(sender, size)
        if self.put(sender, message):
            self.note_sent(sender, size, sure=True)
        else:
            assert self.waiting(sender) > 0 or not self.rested
            error = self.channel.full_error()
            assert isinstance(error, ChannelFull)

    @rule(sender=st.integers(0, SENDERS - 1), size=SIZES, step=STEPS)
    def end_a_sender(self, sender: int, size: int, step: int) -> None:
        message = self.message(sender, size)
        written = []
        try:
            steps.run_until(
                step, lambda: written.append(self.put(sender, message)), at_step=steps.end
            )
        except steps.Ended:
            self.note_sent(sender, size, sure=False)
        else:
            if written[0]:
                self.note_sent(sender, size, sure=True)
        self.senders[sender] = self.new_sender(sender)

    @rule(sender=st.integers(0, SENDERS - 1), size=SIZES, count=COUNTS)
    def send_many(self, sender: int, size: int, count: int) -> None:
        size = min(size, 20_000)
        put = self.put_many(sender, self.messages(sender, size, count)).count
        for _ in range(put):
            self.note_sent(sender, size, sure=True)
        assert put == count or self.waiting(sender) > 0 or not self.rested

    @rule(sender=st.integers(0, SENDERS - 1), size=SIZES, count=COUNTS, step=STEPS)
    def end_a_sender_of_many(self, sender: int, size: int, count: int, step: int) -> None:
        size = min(size, 20_000)
        messages = self.messages(sender, size, count)
        with contextlib.suppress(steps.Ended):
            steps.run_until(step, lambda: self.put_many(sender, messages), at_step=steps.end)
        for _ in range(count):
            self.note_sent(sender, size, sure=False)
        self.senders[sender] = self.new_sender(sender)

    def message(self, sender: int, size: int, ahead: int = 0) -> Message:
        number = self.next_number + ahead
        return Message.build(str(sender), "g", "update", str(number), "x" * size)

    def messages(self, sender: int, size: int, count: int) -> list[Message]:
        return [self.message(sender, size, ahead) for ahead in range(count)]

    def note_sent(self, sender: int, size: int, *, sure: bool) -> None:
        self.sent[sender].append(Sent(self.next_number, size, sure=sure))
        self.next_number += 1

    def waiting(self, sender: int) -> int:
        return sum(not sent.done for sent in self.sent[sender])

    # Receiving

    @rule()
    def get(self) -> None:
        message = self.reader.try_get()
        self.acknowledged(sure=True)
        if message is None:
            self.nothing_came()
        else:
            self.got = [self.handed_out(message)]

    @rule(most=st.sampled_from([1, 2, 10, 100]))
    def get_many(self, most: int) -> None:
        messages = self.reader.try_get_many(most)
        self.acknowledged(sure=True)
        if messages is None:
            self.nothing_came()
            return
        assert 1 <= len(messages) <= most
        for message in messages:
            self.got.append(self.handed_out(message))

    @rule()
    def take(self) -> None:
        delivery = self.reader.try_take()
        self.acknowledged(sure=True)
        if delivery is None:
            self.nothing_came()
        else:
            sent = self.handed_out(delivery.message)
            self.taken[sent.number] = (sent, delivery)

    @precondition(lambda self: self.taken)
    @rule(data=st.data())
    def done(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.taken)))
        sent, delivery = self.taken.pop(number)
        delivery.done()
        delivery.done()
        sent.done = True
        self.rested = False

    @rule(step=STEPS)
    def end_the_reader_in_a_get(self, step: int) -> None:
        self.end_the_reader(step, self.reader.try_get)
        self.acknowledged(sure=False)

    @rule(step=STEPS, most=st.sampled_from([1, 2, 10, 100]))
    def end_the_reader_in_a_get_of_many(self, step: int, most: int) -> None:
        self.end_the_reader(step, lambda: self.reader.try_get_many(most))
        self.acknowledged(sure=False)

    @precondition(lambda self: self.taken)
    @rule(step=st.integers(1, 120), data=st.data())
    def end_the_reader_in_a_done(self, step: int, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.taken)))
        sent, delivery = self.taken[number]
        self.end_the_reader(step, delivery.done)
        sent.perhaps_done = True
        self.got = []

    def end_the_reader(self, step: int, operation: Any) -> None:
        self.rested = False
        for sent in self.all():
            sent.perhaps += 1
        with contextlib.suppress(steps.Ended):
            steps.run_until(step, operation, at_step=steps.end)
        self.reader = self.new_reader()
        self.taken.clear()

    def acknowledged(self, *, sure: bool) -> None:
        for sent in self.got:
            sent.done = sent.done or sure
            sent.perhaps_done = True
        self.got = []

    def handed_out(self, message: Message) -> Sent:
        """Check a message against the model: order, content, and the mark of a redelivery."""
        sender, number = int(message.source), int(message.resource)
        before = [sent for sent in self.sent[sender] if sent.number < number]
        (sent,) = [sent for sent in self.sent[sender] if sent.number == number]
        assert not sent.done
        assert len(message.content) == sent.size
        assert sent.handed_out <= message.redelivered <= sent.handed_out + sent.perhaps
        for earlier in before:
            assert (
                earlier.done
                or earlier.perhaps_done
                or not earlier.sure
                or earlier.number in self.taken
                or earlier.number in self.letters
                or earlier in self.got
            ), f"{number} overtook {earlier.number}"
            if not earlier.sure:
                earlier.done = True  # it was never sent, or it was delivered already
        sent.sure = True
        sent.handed_out += 1
        self.rested = False
        return sent

    def nothing_came(self) -> None:
        """No message is left, or all are in flight, or one is in flight in isolation."""
        if self.taken and self.reader._blocked:
            return
        self.rested = True
        for sent in self.all():
            assert (
                sent.done
                or sent.perhaps_done
                or not sent.sure
                or sent.number in self.taken
                or sent.number in self.letters
            ), f"{sent.number} is lost"
            if sent.number not in self.taken:
                sent.done = True

    def all(self) -> list[Sent]:
        return [sent for one in self.sent for sent in one]

    @invariant()
    def counts_add_up(self) -> None:
        if hasattr(self, "channel"):
            seen = self.channel.statistics()
            assert 0 <= seen.messages <= len(self.all()) + 1
            assert seen.bytes <= SENDERS * (self.channel.capacity + 3 * MIB)
            held = {int(item.resource) for item in self.channel.in_flight()}
            assert held >= set(self.taken)

    def teardown(self) -> None:
        """All messages are delivered in the end."""
        if hasattr(self, "channel"):
            for _sent, delivery in self.taken.values():
                delivery.done()
                _sent.done = True
            self.taken.clear()
            for _ in range(len(self.all()) + 1):
                self.get()
            assert self.channel.empty()


TestChannel = ChannelMachine.TestCase
TestChannel.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
