"""The window of messages to one node that are not acknowledged."""

import asyncio

import pytest

from modules.common.sync import window
from modules.common.sync.journal import Item
from modules.common.sync.window import Window

POD: Item = ("pod", "ns", "p")


async def test_an_object_that_is_never_acknowledged_is_sent_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """2,000 times is more than a day; a factor of two for each has no float."""
    monkeypatch.setattr(window, "RESEND", 1e-6)
    monkeypatch.setattr(window, "LONGEST", 1e-6)
    often = asyncio.Event()
    times = 0

    def resend(item: Item) -> None:
        nonlocal times
        times += 1
        if times == 2000:
            often.set()
        else:
            waiting.add(item, times)

    waiting = Window[int](resend)
    waiting.add(POD, times)
    async with asyncio.timeout(20):
        await often.wait()
    waiting.stop()
