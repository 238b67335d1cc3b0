"""Trying again until the API server has taken a change."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from modules.common.kube.backoff import Backoff
from modules.common.kube.errors import ApiError, KubeError

Result = TypeVar("Result")

log = logging.getLogger(__name__)


async def retry(attempt: Callable[[], Awaitable[Result]], backoff: Backoff | None = None) -> Result:
    """Await `attempt()` until it succeeds or fails for good, however long the server is away.

    Tried again: no answer, 429 (after the time it names), 5xx, 409 of a changed object, for which
    `attempt` must read the object anew, and 401 or 403 of a server that has just come back. Any
    other error is raised.
    """
    backoff = backoff or Backoff()
    while True:
        try:
            return await attempt()
        except KubeError as error:
            if not error.retriable:
                raise
            after = error.retry_after if isinstance(error, ApiError) else None
            pause = backoff.next(after)
            log.debug(f"{error}; trying again in {pause:.1f} s")
        await asyncio.sleep(pause)
