"""The client-side rate limit, as in client-go: qps on average, burst at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable


class TokenBucket:
    """A token bucket: `burst` requests at once, then `qps` a second, in order of arrival.

    A qps of 0 or less means no limit. `waited` is the total delay of requests in seconds.
    """

    def __init__(self, qps: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._qps = qps
        self._burst = max(1, burst)
        self._clock = clock
        self._tokens = float(self._burst)
        self._filled = clock()
        self.waited = 0.0

    def try_take(self) -> bool:
        """Take a token if there is one; return whether there was."""
        self._fill()
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def reserve(self) -> float:
        """Take a token, on credit if there is none; return the seconds to wait for it."""
        if self._qps <= 0:
            return 0.0
        self._fill()
        self._tokens -= 1
        return max(0.0, -self._tokens / self._qps)

    async def acquire(self) -> None:
        """Wait until the limit allows another request."""
        pause = self.reserve()
        if pause:
            self.waited += pause
            await asyncio.sleep(pause)

    def _fill(self) -> None:
        now = self._clock()
        self._tokens = min(self._burst, self._tokens + (now - self._filled) * self._qps)
        self._filled = now
