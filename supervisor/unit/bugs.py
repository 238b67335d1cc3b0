"""Bugs of the supervisor in its own tasks: one that fails is seen, and cloudcore ends in order."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

log = logging.getLogger(__name__)


def no_silent_end(then: Callable[[], None]) -> Callable[[asyncio.Task[None]], None]:
    """Return a callback of a task that must not fail: it logs the bug, and calls `then`."""

    def ended(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()):
            log.critical("a bug in the supervisor: %s ended", task.get_name(), exc_info=error)
            then()

    return ended
