"""A module's states and the transitions between them: the only table of them there is."""

from __future__ import annotations

import enum
from typing import Final


class State(enum.StrEnum):
    """Where a module is in its life (the words are OTP's and systemd's)."""

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
        """Whether the module has a process of its own in this state."""
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
    """A bug of the supervisor's: it tried a transition that the table does not have."""


def check(name: str, old: State, new: State) -> None:
    """Raise ForbiddenTransition unless the table allows it."""
    if new not in TRANSITIONS[old]:
        raise ForbiddenTransition(f"module {name!r} cannot go from {old} to {new}")
