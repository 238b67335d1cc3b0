"""Why a module gets a new process, and what is to happen in between."""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable
from dataclasses import dataclass


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
