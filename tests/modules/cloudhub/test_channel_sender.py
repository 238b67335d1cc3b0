"""The queue to a channel: its order, and what happens when the channel is full."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from ipc import ChannelError, ChannelFull, Message
from modules.cloudhub.channel_sender import ChannelSender
from tests.support.waiting import DEADLINE


class Sent:
    """A running ChannelSender, what it has sent, and the errors of its next sends."""

    def __init__(self) -> None:
        self.resources: list[str] = []
        self.dropped: list[str] = []
        self.errors: list[ChannelError] = []
        self.together: list[int] = []
        """sizes of the next batches that fit into the channel"""
        self.outbox: ChannelSender[None] = ChannelSender(
            "test",
            self._send,
            send_some=self._send_some,
            sent=lambda _: None,
            dropped=lambda message, _: self.dropped.append(message.resource),
        )

    def put(self, *resources: str) -> None:
        for resource in resources:
            self.outbox.put(Message.build("edged", "resource", "update", resource), None)

    async def all(self) -> list[str]:
        await asyncio.wait_for(self.outbox.idle.wait(), DEADLINE)
        return self.resources

    def _send_some(self, messages: Sequence[Message]) -> int:
        if not self.together:
            return 0
        if self.errors:
            raise self.errors.pop(0)
        fit = messages[: self.together.pop(0)]
        self.resources += [message.resource for message in fit]
        return len(fit)

    async def _send(self, message: Message) -> None:
        await asyncio.sleep(0)
        if self.errors:
            raise self.errors.pop(0)
        self.resources.append(message.resource)


@pytest.fixture
async def sent() -> AsyncIterator[Sent]:
    made = Sent()
    running = asyncio.create_task(made.outbox.run())
    yield made
    running.cancel()


async def test_messages_leave_in_order_again_and_again(sent: Sent) -> None:
    sent.put("0", "1")
    assert not sent.outbox.idle.is_set()
    assert await sent.all() == ["0", "1"]
    sent.put("2")
    assert await sent.all() == ["0", "1", "2"]


async def test_those_that_wait_leave_together_as_far_as_there_is_room(sent: Sent) -> None:
    sent.together = [2, 0, 9]
    sent.put("0", "1", "2", "3", "4")
    assert await sent.all() == ["0", "1", "2", "3", "4"]
    assert sent.together == []
    sent.together = [9]
    sent.put("5")
    await sent.all()
    assert sent.together == [9]  # one alone is sent by itself


async def test_of_those_that_leave_together_the_first_is_dropped_if_it_cannot(sent: Sent) -> None:
    sent.together = [9, 9]
    sent.errors = [ChannelError("gone")]
    sent.put("0", "1", "2")
    assert await sent.all() == ["1", "2"]
    assert sent.dropped == ["0"]


async def test_a_full_channel_is_waited_out(sent: Sent, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    sent.errors += [ChannelFull("full"), ChannelFull("full")]
    sent.put("0", "1")
    assert await sent.all() == ["0", "1"]
    assert sent.dropped == []
    assert caplog.messages == ["test does not keep up: full", "test takes messages again"]


async def test_what_can_never_be_sent_is_dropped_and_the_rest_goes(
    sent: Sent, caplog: pytest.LogCaptureFixture
) -> None:
    sent.errors += [ChannelError("gone"), ChannelError("gone")]
    sent.put("0", "1", "2")
    assert await sent.all() == ["2"]
    assert sent.dropped == ["0", "1"]
    assert caplog.text.count("messages for test are dropped") == 1
