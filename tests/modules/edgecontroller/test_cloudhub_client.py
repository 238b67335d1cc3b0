"""Messages get into cloudhub's channel in the order in which they were given."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from ipc import ChannelFull, Message, MessageTooLarge, ModuleUnavailable
from modules.edgecontroller import cloudhub_client
from modules.edgecontroller.cloudhub_client import CloudHubClient

pytestmark = pytest.mark.timeout(10)


class Channel:
    """A channel to cloudhub that is full until `room`."""

    def __init__(self) -> None:
        self.room = False
        self.refused = asyncio.Event()
        self.sent: list[str] = []

    async def send(self, module: str, message: Message, timeout: float | None = None) -> None:
        if message.resource == "too large":
            raise MessageTooLarge
        if not self.room:
            self.refused.set()
            raise ChannelFull
        self.sent.append(message.resource)

    async def send_resp(self, message: Message, timeout: float | None = None) -> None:
        self.refused.set()
        raise ModuleUnavailable


def message(name: str) -> Message:
    return Message.build("edgecontroller", "resource", "update", name, {})


@pytest.fixture
def channel(monkeypatch: pytest.MonkeyPatch) -> Channel:
    monkeypatch.setattr(cloudhub_client, "_PAUSE", 0.01)
    return Channel()


async def test_what_is_sent_while_another_message_waits_for_room_does_not_overtake_it(
    channel: Channel,
) -> None:
    """An answer with a pod's state would be stored over the later one that has overtaken it."""
    client = CloudHubClient(cast("Any", channel))
    waiting = asyncio.create_task(client.send(message("answer")))
    await channel.refused.wait()
    channel.room = True
    await client.send(message("update"))
    await waiting
    assert channel.sent == ["answer", "update"]


async def test_who_waits_no_more_and_what_fits_into_no_channel_let_others_through(
    channel: Channel,
) -> None:
    client = CloudHubClient(cast("Any", channel))
    given_up = asyncio.create_task(client.send(message("given up")))
    await channel.refused.wait()
    given_up.cancel()
    with pytest.raises(MessageTooLarge):
        await client.send(message("too large"))
    channel.room = True
    await client.send(message("update"))
    assert channel.sent == ["update"]


async def test_an_answer_to_a_module_that_is_away_holds_up_nothing(channel: Channel) -> None:
    client = CloudHubClient(cast("Any", channel))
    answer = message("answer")
    answer.reply_to = "another"
    waiting = asyncio.create_task(client.send(answer))
    await channel.refused.wait()
    channel.room = True
    await client.send(message("update"))
    assert channel.sent == ["update"]
    waiting.cancel()
    await asyncio.wait([waiting])
