"""What a module's process is born with."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from ipc import ChannelRegistry
from supervisor.api import Module
from supervisor.host.run_records import RunRecords
from supervisor.telemetry import logs
from supervisor.unit.shared_state import SharedState

if TYPE_CHECKING:
    from supervisor.supervisor import Supervisor
    from supervisor.unit.unit import Unit

#: A module gives this many signs of life within its watchdog's time, and one in 5 s at least.
_BEATS: Final = 4
_LONGEST_BEAT: Final = 5.0


@dataclass(frozen=True)
class LaunchSpec:
    """Everything that a module's process is born with."""

    name: str
    """the unit's: the module's name, or NAME-2 and so on where it has several processes"""
    module: Module
    registry: ChannelRegistry
    page: SharedState
    sockets: Mapping[str, socket.socket]
    lifeline: int
    """a pipe that reads as closed when the supervisor is gone"""
    stop_timeout: float
    beat: float
    """seconds between two signs of life"""
    output: int
    """the pipe that stdout and stderr go to"""
    lives: RunRecords
    keep: frozenset[int]
    """descriptors it needs, beside the three standard ones"""
    set_up_logs: Callable[[str], None]


def make_launch_spec(supervisor: Supervisor, unit: Unit, lifeline: int) -> LaunchSpec:
    """Put together what a new process of a unit's gets."""
    page = SharedState()
    keep = {
        *supervisor.registry.filenos(),
        page.notice,
        lifeline,
        unit.output.write_end,
        *(sock.fileno() for sock in unit.sockets.values()),
    }
    watchdog = unit.supervision.watchdog / _BEATS or _LONGEST_BEAT
    return LaunchSpec(
        name=unit.name,
        module=unit.module,
        registry=supervisor.registry,
        page=page,
        sockets=unit.sockets,
        lifeline=lifeline,
        stop_timeout=unit.supervision.stop_timeout,
        beat=min(watchdog, _LONGEST_BEAT),
        output=unit.output.write_end,
        lives=supervisor.lives,
        keep=frozenset(keep),
        set_up_logs=partial(logs.setup, **supervisor.configuration.log.model_dump()),
    )
