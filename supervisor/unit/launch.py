"""The launch of a module's process: everything that it starts with."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from ipc import ChannelRegistry
from supervisor.api import Module
from supervisor.host.run_records import RunRecords
from supervisor.telemetry.output import ModuleOutput
from supervisor.unit.restart_policy import Supervision
from supervisor.unit.shared_state import SharedState

#: A module gives this many signs of life within its watchdog's time, and one in 5 s at least.
_BEATS: Final = 4
_LONGEST_BEAT: Final = 5.0


@dataclass(frozen=True)
class LaunchSpec:
    """Everything that a module's process starts with."""

    name: str
    """the unit's: the module's name, or NAME-2 and so on where it has several processes"""
    module: Module
    registry: ChannelRegistry
    shared_state: SharedState
    sockets: Mapping[str, socket.socket]
    lifeline: int
    """a pipe that reads as closed when the supervisor is gone"""
    stop_timeout: float
    beat: float
    """seconds between two signs of life"""
    output: int
    """the pipe that stdout and stderr go to"""
    run_records: RunRecords
    keep: frozenset[int]
    """descriptors it needs, beside the three standard ones"""
    set_up_logs: Callable[[str], None]


@dataclass(frozen=True)
class Launcher:
    """Makes launch specs from what all units have in common."""

    registry: ChannelRegistry
    run_records: RunRecords
    lifeline: int
    set_up_logs: Callable[[str], None]

    def spec(
        self,
        name: str,
        module: Module,
        supervision: Supervision,
        sockets: Mapping[str, socket.socket],
        output: ModuleOutput,
    ) -> LaunchSpec:
        """Put together what a new process of a unit gets; raises OSError."""
        shared_state = SharedState()
        keep = {
            *self.registry.filenos(),
            shared_state.notice,
            self.lifeline,
            output.write_end,
            *(sock.fileno() for sock in sockets.values()),
        }
        watchdog = supervision.watchdog / _BEATS or _LONGEST_BEAT
        return LaunchSpec(
            name=name,
            module=module,
            registry=self.registry,
            shared_state=shared_state,
            sockets=sockets,
            lifeline=self.lifeline,
            stop_timeout=supervision.stop_timeout,
            beat=min(watchdog, _LONGEST_BEAT),
            output=output.write_end,
            run_records=self.run_records,
            keep=frozenset(keep),
            set_up_logs=self.set_up_logs,
        )
