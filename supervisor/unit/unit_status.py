"""The status of a unit: what others read of it, and what they wait for."""

from __future__ import annotations

import socket
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from ipc.registry import Mailbox
from supervisor.api import Module
from supervisor.host import sockets
from supervisor.host.suspension import suspension
from supervisor.telemetry.crash_reports import CrashReport
from supervisor.telemetry.output import ModuleOutput
from supervisor.unit.process import ModuleProcess
from supervisor.unit.restart_policy import Supervision
from supervisor.unit.states import State

#: Seconds of backoff during which connections are refused instead of kept in the backlog.
_LONG_BACKOFF: Final = 1.0
#: Seconds for which a channel has to be full before that is told: a burst is no trouble.
FULL_LASTING: float = 10.0


@dataclass(eq=False)
class UnitStatus:
    """What the supervisor knows of a module, or of one of its processes; `Unit` changes it."""

    name: str
    module: Module
    supervision: Supervision
    mailbox: Mailbox
    sockets: Mapping[str, socket.socket]
    output: ModuleOutput
    state: State = State.DISABLED
    since: float = field(default_factory=time.time)
    restarts: Counter[str] = field(default_factory=Counter)
    transitions: Counter[str] = field(default_factory=Counter)
    last_exit: CrashReport | None = None
    process: ModuleProcess | None = None
    waits_for: UnitStatus | None = None
    """the unit that has to be ready before this one starts"""
    first_started: float = 0.0
    """on the monotonic clock; units are stopped in reverse order of their first start"""
    repeats: bool = False
    """it fails because of the same temporary condition as before: transitions are not logged"""
    full_since: float | None = None
    """since when its channel is full, on the monotonic clock; None if it is not"""
    held: bool = False
    """it starts again when another one, whose crash has stopped it, is settled"""
    _living: bool = False
    _died: bool = False
    """since it was last ready, or was last started on request"""
    _reason: str = ""
    _backoff: float = 0.0
    """seconds of the present backoff"""

    @property
    def reason(self) -> str:
        """Why it is in its state; empty if the state says it all."""
        if self.waits_for:
            return f"waits for {self.waits_for.name}, which is {self.waits_for.state}"
        reasons = (
            self._reason,
            suspension(self.process.pid) if self.process else "",
            self.full_channel,
        )
        return "; ".join(filter(None, reasons))

    @property
    def full_channel(self) -> str:
        """Since when its channel is full, and what that means; empty if it is not."""
        seconds = time.monotonic() - self.full_since if self.full_since is not None else 0.0
        if seconds < FULL_LASTING:
            return ""
        waiting = self.mailbox.inbox.qsize()
        return (
            f"its channel has been full for {seconds:.0f} s: messages={waiting}; senders wait, "
            "and it does not keep up; `cloudcore top --view channels` shows how fast it is"
        )

    @property
    def living(self) -> bool:
        """Whether it was started, and was not stopped and did not fail for good since."""
        return self._living

    @property
    def tried(self) -> bool:
        """Whether it was ready or crashed since it was started, or will not start."""
        if self.waits_for:
            return self.waits_for.state is not State.READY and self.waits_for.tried
        return self.settled or self._died

    @property
    def settled(self) -> bool:
        """Whether it is ready, or will not become ready without intervention."""
        if self.waits_for:
            return self.waits_for.state is not State.READY and self.waits_for.settled
        return self.state is State.READY or not self._living

    @property
    def away(self) -> bool:
        """Whether it will not accept connections soon.

        A short restart does not count, nor does the time before the first start: meanwhile
        connections wait in the backlog.
        """
        if self.waits_for:
            return self.waits_for.away
        if self.state is State.BACKOFF:
            return self._backoff >= _LONG_BACKOFF
        return self.state in {State.STOPPED, State.FAILED} and self.first_started > 0

    def details(self) -> dict[str, Any]:
        """Return what the module reported, and where it listens."""
        listening = {name: sockets.address(sock) for name, sock in self.sockets.items()}
        reported = self.process.shared_state.details() if self.process else {}
        return {**({"listen": listening} if listening else {}), **reported}
