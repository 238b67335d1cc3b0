"""Pauses between attempts: exponential, with jitter, back to the start after a success."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass
class Backoff:
    """Yields the next pause in seconds, each between a part and the whole of a doubling time.

    The jitter keeps modules and replicas from coming back to a restarted API server at once. With
    a small `least`, one of many that wait finds out early that it is back.
    """

    initial: float = 0.1
    maximum: float = 30.0
    factor: float = 2.0
    least: float = 0.5
    _current: float = 0.0

    def next(self, at_least: float | None = None) -> float:
        """Compute the next pause; `at_least` is what the server asked for (Retry-After)."""
        self._current = min(self.maximum, max(self.initial, self._current * self.factor))
        pause = self._current * random.uniform(self.least, 1.0)  # noqa: S311 - spreading, not secrecy
        return max(pause, at_least or 0.0)

    def reset(self) -> None:
        self._current = 0.0
