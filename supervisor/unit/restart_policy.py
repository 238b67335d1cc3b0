"""Restarts: whether and when a module that died is started again, and why.

Restart intensity is OTP's sliding window (lib/stdlib/src/supervisor.erl), the backoff is
Kubernetes': it grows by a factor up to a maximum, and a while of being ready forgets it.
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

#: Seconds of the first wait that grows, if `backoff_initial` is 0.
_STEP: Final = 0.1


class Cause(enum.StrEnum):
    """Why a module gets a new process; a label of the metric of restarts."""

    CRASH = "crash"
    HUNG = "hung"
    LIMIT = "limit"
    START_TIMEOUT = "start_timeout"
    REQUEST = "request"
    RELOAD = "reload"
    STRATEGY = "strategy"


@dataclass(frozen=True)
class Verdict:
    """Why the supervisor has ended a process; a crash without a reason is its own doing."""

    cause: Cause
    reason: str = ""


@dataclass(frozen=True)
class End:
    """How one process's life ended."""

    cause: Cause
    reason: str
    """why the supervisor has ended it; empty if it did so itself"""
    ready_for: float
    """seconds"""
    failure: bool
    for_good: str = ""
    """why no other one is to be started, if it said so"""
    temporary: str = ""
    """the condition that it waits for, if it said that this passes by itself"""


@dataclass(frozen=True)
class Restart:
    """A restart that was asked for; between the two processes come `prepare` and then `gate`."""

    cause: Cause
    why: str = ""
    prepare: Callable[[], None] | None = None
    gate: Callable[[], Awaitable[None]] | None = None


class Supervision(BaseModel):
    """How one module is supervised: `[modules.NAME.supervision]`; times are in seconds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    restart: RestartWhen = "always"
    backoff_initial: float = Field(0.0, ge=0)
    """before the first restart; the following ones wait 0.1 s times the factor and so on"""
    backoff_max: float = Field(10.0, ge=0)
    backoff_factor: float = Field(2.0, ge=1)
    jitter: float = Field(0.1, ge=0, le=1)
    max_restarts: int = Field(10, ge=0)
    """a module with more restarts than this within `period` has failed for good"""
    period: float = Field(600.0, gt=0)
    """seconds of the window in which restarts are counted; it has to exceed
    max_restarts * (start_timeout + backoff_max), or a module that always times out never fails"""
    healthy_after: float = Field(10.0, ge=0)
    """seconds of being ready after which earlier failures are forgotten"""
    start_timeout: float = Field(30.0, gt=0)
    stop_timeout: float = Field(10.0, gt=0)
    essential: bool = False
    """when it has failed for good, cloudcore shuts down with exit status 1"""
    strategy: Strategy = "one_for_one"
    """what is restarted when it dies: only itself, all modules, or also those started after it"""
    watchdog: float = Field(60.0, ge=0)
    """seconds without a sign of life after which a ready module is killed; 0: never"""
    max_rss: int = Field(0, ge=0)
    """bytes; a module that takes more for `limit_grace` is restarted; 0: no limit"""
    max_fds: int = Field(0, ge=0)
    limit_grace: float = Field(5.0, ge=0)
    after: tuple[str, ...] = ()
    """start when these are ready, of those that are enabled"""


class RestartPolicy:
    """Decides, from a module's deaths so far; `now` is the monotonic clock, in seconds."""

    def __init__(self, supervision: Supervision) -> None:
        self._supervision = supervision
        self._deaths: deque[float] = deque()
        self._delay: float | None = None

    def wanted(self, *, failure: bool) -> bool:
        """Whether a death of this kind is followed by a restart at all."""
        restart = self._supervision.restart
        return restart == "always" or (restart == "on-failure" and failure)

    def delay(self, now: float, ready_for: float, *, temporary: bool = False) -> float | None:
        """Note a death and say how long to wait; None when there have been too many.

        One for a temporary condition waits as long, and is not counted.
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
