"""A limit on failed logins, so that nobody guesses."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Final

#: Failed logins of all clients together within this many seconds.
_MOST: Final = 10
_PERIOD: Final = 60.0


class Attempts:
    """The failed logins of the last minute."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._failed: deque[float] = deque(maxlen=_MOST)

    @property
    def exhausted(self) -> bool:
        """Whether there were too many for another one."""
        return len(self._failed) == _MOST and self._now() - self._failed[0] < _PERIOD

    def failed(self) -> None:
        self._failed.append(self._now())
