"""The contexts that `start` is given; they implement the protocols of supervisor/api.py."""

from __future__ import annotations

import logging
import socket
from collections.abc import Mapping
from typing import Any

from ipc import AsyncContext, ChannelRegistry, Context
from supervisor.unit.shared_state import SharedState

log = logging.getLogger(__name__)


class _Reports:
    """What both kinds of context add to the operations on channels: reports to the supervisor."""

    _shared_state: SharedState
    _details: dict[str, Any]
    _report_error: str
    """why the last report of details failed"""
    sockets: Mapping[str, socket.socket]

    def _set_up(self, shared_state: SharedState, sockets: Mapping[str, socket.socket]) -> None:
        self._shared_state = shared_state
        self._details = {}
        self._report_error = ""
        self.sockets = sockets

    def ready(self) -> None:
        self._shared_state.report_ready()

    def alive(self) -> None:
        self._shared_state.report_alive()

    def report(self, **details: Any) -> None:
        self._details.update(details)
        self._details = {name: value for name, value in self._details.items() if value is not None}
        try:
            self._shared_state.report_details(self._details)
        except (TypeError, ValueError) as error:  # a failed report must not end the module
            if str(error) != self._report_error:
                log.error("cannot report the details of this module: %s", error)
            self._report_error = str(error)


class SupervisedContext(_Reports, AsyncContext):
    """The `ModuleContext` of a module with `async def start`."""

    def __init__(
        self,
        registry: ChannelRegistry,
        name: str,
        shared_state: SharedState,
        sockets: Mapping[str, socket.socket],
    ) -> None:
        super().__init__(registry, name)
        self._set_up(shared_state, sockets)


class SupervisedBlockingContext(_Reports, Context):
    """The `BlockingModuleContext` of a module with a plain `def start`."""

    def __init__(
        self,
        registry: ChannelRegistry,
        name: str,
        shared_state: SharedState,
        sockets: Mapping[str, socket.socket],
    ) -> None:
        super().__init__(registry, name)
        self._set_up(shared_state, sockets)
