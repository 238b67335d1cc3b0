"""A plugin that has the event loop of a test pause at random places, as on a machine without CPU.

    python -m pytest -p tests.support.pauses --timeout 180 -n 8 tests/modules/edgecontroller

PAUSES (3) times in each test, before any callback of asyncio's own loop, nothing runs for
PAUSE_SECONDS (0.5); PAUSE_SEED chooses other places. A test that fails so assumes that something
happens in time, or a module does. uvloop, as in the tests of CloudHub, has no such callbacks: with
PAUSE_THREAD=1 it is at random moments, of all threads.
"""

from __future__ import annotations

import asyncio.events
import ctypes
import os
import random
import threading
import time
from collections.abc import Generator

import pytest

PAUSES = int(os.environ.get("PAUSES", "3"))
SECONDS = float(os.environ.get("PAUSE_SECONDS", "0.5"))
SEED = os.environ.get("PAUSE_SEED", "1")

_run = asyncio.events.Handle._run
#: Of the C library, called with the interpreter's lock held: no thread runs meanwhile.
_usleep = ctypes.PyDLL(None).usleep


class Pauses:
    """Those of the test that runs."""

    def __init__(self) -> None:
        self._dice = random.Random()
        self._left = 0
        self._calls = 0
        self._begun = threading.Event()

    def begin(self, test: str) -> None:
        self._dice.seed(test + SEED)
        self._left = PAUSES
        self._choose()
        self._begun.set()

    def end(self) -> None:
        self._left = 0
        self._begun.clear()

    def called(self) -> None:
        """Pause if it is the turn of this callback."""
        if self._left:
            self._calls -= 1
            if self._calls < 0:
                self._choose()
                self._pause()

    def at_moments(self) -> None:
        """Pause at random moments, in a thread."""
        while True:
            self._begun.wait()
            time.sleep(10 ** self._dice.uniform(-3, -0.5))
            if self._left:
                self._pause()

    def _choose(self) -> None:
        self._calls = int(10 ** self._dice.uniform(0, 2.2))  # early and late places alike

    def _pause(self) -> None:
        self._left -= 1
        for _ in range(10):  # at most a second each
            _usleep(int(SECONDS * 100_000))


pauses = Pauses()


def pytest_sessionstart() -> None:
    if os.environ.get("PAUSE_THREAD"):
        threading.Thread(target=pauses.at_moments, daemon=True).start()
        return

    def paused(handle: asyncio.Handle) -> None:
        pauses.called()
        _run(handle)

    asyncio.events.Handle._run = paused  # type: ignore[method-assign]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    pauses.begin(item.nodeid)
    try:
        yield
    finally:
        pauses.end()
