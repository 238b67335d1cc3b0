"""Whether the wall clock was set: it is compared with the monotonic clock."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Final

#: Seconds by which the clock must jump to count as set, and not as slewed.
JUMP: Final = 60.0


class ClockJumps:
    """The jumps of the wall clock since this object was made; to be asked again and again."""

    def __init__(
        self,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._ahead = wall() - monotonic()
        self._last = -math.inf

    def settled(self, seconds: float) -> bool:
        """Whether the clock was not set within the last `seconds`, as far as it was asked.

        Until then, what is old by the clock may have been made a moment ago.
        """
        now = self._monotonic()
        ahead = self._wall() - now
        if abs(ahead - self._ahead) > JUMP:
            self._last = now
        self._ahead = ahead
        return now - self._last >= seconds
