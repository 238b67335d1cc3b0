"""Whether this process was stopped (SIGSTOP, a frozen or migrated machine) for longer than a Lease.

Its edges may be elsewhere since, so before anything is sent or taken from them, all sessions end.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

log = logging.getLogger(__name__)


class Suspension:
    """A clock that is looked at often while the process runs; a gap shows a stop.

    CLOCK_MONOTONIC goes on during a stop by SIGSTOP.
    """

    def __init__(self, longest: float, on_stop: Callable[[str], None]) -> None:
        """Set up; `on_stop` is called, with the reason, after a stop of `longest` seconds."""
        self._longest = longest
        self._on_stop = on_stop
        self._looked = time.monotonic()

    def passed(self) -> bool:
        """Look at the clock; whether there was a stop, which has been handled now."""
        now = time.monotonic()
        gap, self._looked = now - self._looked, now
        if gap <= self._longest:
            return False
        reason = f"cloudcore was stopped for {gap:.0f} s"
        log.warning("%s, longer than a replica may be silent: all nodes are let go", reason)
        self._on_stop(reason)
        return True
