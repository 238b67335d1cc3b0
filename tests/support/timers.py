"""Timers of a module that end when a test says so, and so never before it is there."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from itertools import count
from types import ModuleType
from typing import Any

import pytest


class _Timer:
    """What a TimerHandle is to who has started it."""

    def __init__(self, call: Callable[[], None]) -> None:
        self.call = call

    def cancel(self) -> None:
        self.call = lambda: None


class Timers:
    """Stands for asyncio in a module that does nothing with it but call later."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, module: ModuleType) -> None:
        assert getattr(module, "asyncio", None) is asyncio
        monkeypatch.setattr(module, "asyncio", self)
        self.now = 0.0
        self._waiting: list[tuple[float, int, _Timer]] = []
        self._numbers = count()

    def get_running_loop(self) -> Timers:
        return self

    def call_later(self, delay: float, call: Callable[..., Any], *arguments: Any) -> _Timer:
        timer = _Timer(lambda: call(*arguments))
        heapq.heappush(self._waiting, (self.now + delay, next(self._numbers), timer))
        return timer

    def pass_by(self, seconds: float) -> None:
        """Let time pass, and do all that is due by then, in its order."""
        end = self.now + seconds
        while self._waiting and self._waiting[0][0] <= end:
            self.now, _, timer = heapq.heappop(self._waiting)
            timer.call()
        self.now = end
