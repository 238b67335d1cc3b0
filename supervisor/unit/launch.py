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

#: Signs of life that a module gives within the time of its watchdog.
_BEATS: Final = 4
#: Seconds between two of them, at most.
_LONGEST_BEAT: Final = 5.0


@dataclass(frozen=True)
class LaunchSpec:
    """Everything that a module's process starts with."""

    name: str
    """of the unit: the module's name, or NAME-2 and so on for further processes of a module"""
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
    """descriptors that the process needs in addition to the three standard ones"""
    set_up_logs: Callable[[str], None]


@dataclass(frozen=True)
class Launcher:
    """The maker of launch specs; its attributes are what all units have in common."""

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
        """Return the spec of a new process of a unit; raises OSError."""
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
