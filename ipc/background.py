"""Background tasks that nobody awaits: what ends one is logged with its stack, and it goes on."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

log = logging.getLogger(__name__)

#: Seconds until work that has failed begins again.
AGAIN: Final = 5.0


async def keep_running(what: str, work: Callable[[], Awaitable[None]]) -> None:
    """Do the work until it returns; after an exception begin it again, AGAIN seconds later.

    `what` is the subject of the line in the log: one with the stack for an exception that the one
    before was not.
    """
    logged = ""
    while True:
        try:
            await work()
        except Exception as error:
            text = repr(error)
            if text != logged:
                log.exception("%s failed; beginning again every %g s", what, AGAIN)
            logged = text
        else:
            return
        await asyncio.sleep(AGAIN)


@contextlib.asynccontextmanager
async def kept_running(what: str, work: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    """Do the work beside what is done while entered, as `keep_running` does."""
    running = asyncio.create_task(keep_running(what, work), name=what)
    try:
        yield
    finally:
        running.cancel()
        await asyncio.wait([running])
