"""Waiting for what nobody tells: a condition is looked at until it holds, or time is up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

DEADLINE = 20.0


async def until(condition: Callable[[], Any]) -> None:
    """Wait until a condition holds; TimeoutError after DEADLINE seconds."""
    async with asyncio.timeout(DEADLINE):
        while not condition():
            await asyncio.sleep(0.005)


async def eventually(get: Callable[[], Awaitable[Any]], accept: Callable[[Any], Any]) -> Any:
    """Ask until the answer is acceptable, and return it; NotFound is an answer too, as None."""
    from modules.common.kube import NotFound  # with all of the client, which not all need

    async with asyncio.timeout(DEADLINE):
        while True:
            try:
                found = await get()
            except NotFound:
                found = None
            if accept(found):
                return found
            await asyncio.sleep(0.01)


def block_until(condition: Callable[[], Any], what: str = "it", interval: float = 0.01) -> None:
    """Wait where there is no event loop; AssertionError after DEADLINE seconds.

    With an `interval` of 0 others run in between, and nothing is slept.
    """
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(interval)
