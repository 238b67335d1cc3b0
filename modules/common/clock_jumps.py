"""Whether the wall clock was set: it is compared with the monotonic clock."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Final

#: Seconds by which the clock must jump to count as set, and not as slewed.
_JUMP: Final = 60.0


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

    def jump(self) -> float:
        """Return by how many seconds the clock was set since it was last asked; 0.0 if not."""
        now = self._monotonic()
        ahead = self._wall() - now
        moved, self._ahead = ahead - self._ahead, ahead
        if abs(moved) <= _JUMP:
            return 0.0
        self._last = now
        return moved

    def settled(self, seconds: float) -> bool:
        """Whether the clock was not set within the last `seconds`, as far as it was asked.

        Until then, what is old by the clock may have been made a moment ago.
        """
        self.jump()
        return self._monotonic() - self._last >= seconds
