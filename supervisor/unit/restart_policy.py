"""The restart policy: whether and when a module that crashed is started again, and why.

Restart intensity is OTP's sliding window (lib/stdlib/src/supervisor.erl). The backoff is that of
Kubernetes: it grows by a factor up to a maximum, and is reset when the module has been ready for
`healthy_after` seconds.
"""

from __future__ import annotations

import enum
import random
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

RestartWhen = Literal["always", "on-failure", "never"]
Strategy = Literal["one_for_one", "one_for_all", "rest_for_one"]

#: Seconds of the second backoff if `backoff_initial` is 0; it grows by the factor from there.
_STEP: Final = 0.1


class Cause(enum.StrEnum):
    """Why a module gets a new process; the label `cause` of the metric of restarts."""

    CRASH = "crash"
    HUNG = "hung"
    LIMIT = "limit"
    START_TIMEOUT = "start_timeout"
    REQUEST = "request"
    RELOAD = "reload"
    STRATEGY = "strategy"


@dataclass(frozen=True)
class Verdict:
    """Why a process ended; the reason is the supervisor's, empty if the process exited alone."""

    cause: Cause
    reason: str = ""


@dataclass(frozen=True)
class End:
    """How one process ended."""

    cause: Cause
    reason: str
    """why the supervisor ended it; empty if it exited on its own"""
    ready_for: float
    """seconds that it was ready"""
    failure: bool
    for_good: str = ""
    """the text of CannotStart, if it raised that: there is no further attempt"""
    temporary: str = ""
    """the text of TemporaryFailure, if it raised that"""


@dataclass(frozen=True)
class Restart:
    """A restart on request; `prepare` and then `gate` run between the two processes."""

    cause: Cause
    why: str = ""
    prepare: Callable[[], None] | None = None
    gate: Callable[[], Awaitable[None]] | None = None


class Supervision(BaseModel):
    """How one module is supervised: `[modules.NAME.supervision]`; times are in seconds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    restart: RestartWhen = "always"
    backoff_initial: float = Field(0.0, ge=0)
    """before the first restart; the next ones wait at least 0.1 s, and longer by the factor"""
    backoff_max: float = Field(10.0, ge=0)
    backoff_factor: float = Field(2.0, ge=1)
    jitter: float = Field(0.1, ge=0, le=1)
    max_restarts: int = Field(10, ge=0)
    """a module with more crashes than this within `period` has failed for good"""
    period: float = Field(600.0, gt=0)
    """seconds of the window in which crashes are counted; it has to exceed
    max_restarts * (start_timeout + backoff_max), or a module that always times out never fails"""
    healthy_after: float = Field(10.0, ge=0)
    """seconds of being ready after which earlier crashes no longer count"""
    start_timeout: float = Field(30.0, gt=0)
    stop_timeout: float = Field(10.0, gt=0)
    essential: bool = False
    """when it has failed for good, cloudcore shuts down with exit status 1"""
    strategy: Strategy = "one_for_one"
    """what is restarted when it dies: only itself, all modules, or also those started after it"""
    watchdog: float = Field(60.0, ge=0)
    """seconds without a sign of life after which a ready module is killed; 0: never"""
    max_rss: int = Field(0, ge=0)
    """bytes; a module that uses more for `limit_grace` seconds is restarted; 0: no limit"""
    max_fds: int = Field(0, ge=0)
    limit_grace: float = Field(5.0, ge=0)
    after: tuple[str, ...] = ()
    """the modules that have to be ready before this one starts; disabled ones do not count"""
    stop_before: tuple[str, ...] = ()
    """the modules that, when cloudcore stops, are stopped only after this one"""


class RestartPolicy:
    """The decision on a restart, from a module's crashes so far."""

    def __init__(self, supervision: Supervision) -> None:
        self._supervision = supervision
        self._deaths: deque[float] = deque()
        self._delay: float | None = None

    def wanted(self, *, failure: bool) -> bool:
        """Whether an exit is followed by a restart at all; `failure` tells whether it crashed."""
        restart = self._supervision.restart
        return restart == "always" or (restart == "on-failure" and failure)

    def delay(self, now: float, ready_for: float, *, temporary: bool = False) -> float | None:
        """Record an exit and return the backoff in seconds; None if there were too many crashes.

        `now` is the monotonic clock in seconds. A temporary failure has the same backoff as any
        other one, but is not counted.
        """
        rules = self._supervision
        if ready_for >= rules.healthy_after:
            self._delay = None
            self._deaths.clear()
        if not temporary:
            self._deaths.append(now)
        while self._deaths and self._deaths[0] <= now - rules.period:
            self._deaths.popleft()
        if not temporary and len(self._deaths) > rules.max_restarts:
            return None
        if self._delay is None:
            self._delay = 0.0
            return rules.backoff_initial
        grown = self._delay * rules.backoff_factor or max(rules.backoff_initial, _STEP)
        self._delay = min(grown, rules.backoff_max)
        spread = 1 + random.uniform(-rules.jitter, rules.jitter)  # noqa: S311 - not for secrets
        return min(self._delay * spread, rules.backoff_max)
