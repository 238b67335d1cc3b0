"""Exponential backoff with jitter between attempts, reset after a success."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass
class Backoff:
    """The pauses between attempts, in seconds: a random part of a time that doubles.

    The jitter keeps modules and replicas from reconnecting to a restarted API server at once. With
    a small `least`, one of many waiting tasks notices early that the server is back.
    """

    initial: float = 0.1
    maximum: float = 30.0
    factor: float = 2.0
    least: float = 0.5
    _current: float = 0.0

    def next(self, at_least: float | None = None) -> float:
        """Return the next pause; `at_least` is the server's Retry-After."""
        self._current = min(self.maximum, max(self.initial, self._current * self.factor))
        pause = self._current * random.uniform(self.least, 1.0)  # noqa: S311 - spreading, not secrecy
        return max(pause, at_least or 0.0)

    def reset(self) -> None:
        self._current = 0.0
