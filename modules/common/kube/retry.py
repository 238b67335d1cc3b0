"""Trying again until the API server has taken a change."""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable
from typing import TypeVar

from modules.common.kube.backoff import Backoff
from modules.common.kube.errors import ApiError, KubeError, TooManyRequests
from modules.common.kube.health import ApiHealth

Result = TypeVar("Result")

log = logging.getLogger(__name__)


async def retry(
    attempt: Callable[[], Awaitable[Result]],
    health: ApiHealth,
    backoff: Backoff | None = None,
    *,
    attempts: float = math.inf,
) -> Result:
    """Await `attempt()` until it succeeds or fails for good, however long the server is away.

    Tried again: outages (no answer, credentials that are not taken), 429 (after the time it
    names), 5xx, and 409 of a changed object, for which `attempt` must read the object anew. Any
    other error is raised. 5xx and 409 may concern this object alone (an admission webhook that
    does not answer): after `attempts` of them the last one is raised, so that the caller can go on
    with other objects. `health` is that of the client that `attempt` uses: it tells of outages,
    and ends the pause when one is over.
    """
    backoff = backoff or Backoff(least=0.1)
    while True:
        try:
            return await attempt()
        except KubeError as error:
            if not (error.outage or isinstance(error, TooManyRequests)):
                attempts -= 1
            if not error.retriable or attempts <= 0:
                raise
            pause = backoff.next()
            asked = error.retry_after if isinstance(error, ApiError) else None
            log.debug(f"{error}; trying again in {max(pause, asked or 0.0):.1f} s")
        await health.pause(pause, at_least=asked or 0.0)
