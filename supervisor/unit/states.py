"""A module's states, and the table of the transitions between them."""

from __future__ import annotations

import enum
from typing import Final


class State(enum.StrEnum):
    """The state of a module (the words are those of OTP and systemd)."""

    DISABLED = "disabled"
    STOPPED = "stopped"
    STARTING = "starting"
    READY = "ready"
    STOPPING = "stopping"
    CRASHED = "crashed"
    BACKOFF = "backoff"
    FAILED = "failed"

    @property
    def alive(self) -> bool:
        """Whether a module has a process in this state."""
        return self in {State.STARTING, State.READY, State.STOPPING}


TRANSITIONS: Final[dict[State, frozenset[State]]] = {
    State.DISABLED: frozenset({State.STOPPED}),
    State.STOPPED: frozenset({State.STARTING, State.DISABLED}),
    State.STARTING: frozenset({State.READY, State.CRASHED, State.STOPPING}),
    State.READY: frozenset({State.CRASHED, State.STOPPING}),
    State.STOPPING: frozenset({State.STOPPED, State.BACKOFF, State.FAILED}),
    State.CRASHED: frozenset({State.BACKOFF, State.FAILED, State.STOPPED}),
    State.BACKOFF: frozenset({State.STARTING, State.STOPPED}),
    State.FAILED: frozenset({State.STARTING, State.STOPPED, State.DISABLED}),
}


class ForbiddenTransition(Exception):
    """A bug in the supervisor: it tried a transition that is not in the table."""


def check(name: str, old: State, new: State) -> None:
    """Raise ForbiddenTransition unless the table has the transition."""
    if new not in TRANSITIONS[old]:
        raise ForbiddenTransition(f"module {name!r} cannot go from {old} to {new}")
