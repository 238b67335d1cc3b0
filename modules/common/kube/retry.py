"""Retries of a write until the API server has accepted it."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from modules.common.kube.backoff import Backoff
from modules.common.kube.errors import ApiError, Gone, KubeError, TooManyRequests
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
    """Await `attempt()` until it succeeds or fails permanently, for as long as an outage lasts.

    Retried are outages (no response, refused credentials), 429 (after its Retry-After), 5xx, and
    409 of a changed object, for which `attempt` must read the object again. Any other error is
    raised. 5xx and 409 may concern this object only (an admission webhook that does not respond),
    and so may no response while others get theirs: after `attempts` of them the last one is raised,
    so that the caller can continue with other objects. `health` is that of the client that
    `attempt` uses: it logs outages, and ends the pause when an outage is over.
    """
    backoff = backoff or Backoff(least=0.1)
    while True:
        began = time.monotonic()
        try:
            return await attempt()
        except KubeError as error:
            is_outage = error.outage and not health.has_served_since(began)
            if not (is_outage or isinstance(error, TooManyRequests)):
                attempts -= 1
            if not error.retriable or attempts <= 0:
                raise
            pause = backoff.next()
            asked = error.retry_after if isinstance(error, ApiError) else None
            log.debug("%s; trying again in %.1f s", error, max(pause, asked or 0.0))
        await health.pause(pause, at_least=asked or 0.0)


async def retry_listing(attempt: Callable[[], Awaitable[Result]], health: ApiHealth) -> Result:
    """Do the same for an `attempt` that lists pages, also if the list expires between two."""
    while True:
        try:
            return await retry(attempt, health)
        except Gone as error:
            log.debug("%s; listing again", error)
