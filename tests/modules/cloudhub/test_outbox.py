"""Messages on their way to a channel: order, and when they leave."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from ipc import Message
from modules.cloudhub import outbox
from modules.cloudhub.outbox import Outbox


class Sent:
    """An outbox at work, and what has left it."""

    def __init__(self) -> None:
        self.resources: list[str] = []
        self.outbox: Outbox[None] = Outbox(
            "test", self._send, sent=lambda _: None, dropped=lambda *_: None
        )

    def put(self, resource: str, *, urgent: bool) -> None:
        made = Message.build("edged", "resource", "update", resource)
        self.outbox.put(made, None, urgent=urgent)

    async def all(self) -> list[str]:
        await asyncio.wait_for(self.outbox.idle.wait(), 10)
        return self.resources

    async def _send(self, message: Message) -> None:
        self.resources.append(message.resource)


@pytest.fixture
async def sent() -> AsyncIterator[Sent]:
    made = Sent()
    running = asyncio.create_task(made.outbox.run())
    yield made
    running.cancel()


async def test_what_is_not_urgent_goes_with_what_is_and_in_order(
    sent: Sent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "_GATHER", 3600.0)
    for number in range(3):
        sent.put(f"{number}", urgent=False)
    await asyncio.sleep(0)
    assert sent.resources == []
    sent.put("now", urgent=True)
    assert await sent.all() == ["0", "1", "2", "now"]


async def test_many_that_are_not_urgent_do_not_wait(
    sent: Sent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "_GATHER", 3600.0)
    for number in range(outbox._GATHERED):
        sent.put(f"{number}", urgent=False)
    assert len(await sent.all()) == outbox._GATHERED


async def test_what_is_not_urgent_goes_by_itself_again_and_again(sent: Sent) -> None:
    for count in range(1, 4):
        sent.put("later", urgent=False)
        assert len(await sent.all()) == count
