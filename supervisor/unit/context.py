"""The contexts that `start` is given; they implement the protocols of supervisor/api.py."""

from __future__ import annotations

import logging
import socket
from collections.abc import Mapping
from typing import Any

from ipc import AsyncContext, ChannelRegistry, Context
from supervisor.unit.shared_state import SharedState

log = logging.getLogger(__name__)


class _Life:
    """What both kinds of context add to the operations on channels."""

    _page: SharedState
    _details: dict[str, Any]
    _untold: str
    """why the last details could not be told"""
    sockets: Mapping[str, socket.socket]

    def _live(self, page: SharedState, sockets: Mapping[str, socket.socket]) -> None:
        self._page = page
        self._details = {}
        self._untold = ""
        self.sockets = sockets

    def ready(self) -> None:
        self._page.say_ready()

    def alive(self) -> None:
        self._page.say_alive()

    def report(self, **details: Any) -> None:
        self._details.update(details)
        self._details = {name: value for name, value in self._details.items() if value is not None}
        try:
            self._page.say_details(self._details)
        except (TypeError, ValueError) as error:  # a failed report must not end the module
            if str(error) != self._untold:
                log.error("the details of this module cannot be told: %s", error)
            self._untold = str(error)


class SupervisedContext(_Life, AsyncContext):
    """The `ModuleContext` of a module with `async def start`."""

    def __init__(
        self,
        registry: ChannelRegistry,
        name: str,
        page: SharedState,
        sockets: Mapping[str, socket.socket],
    ) -> None:
        super().__init__(registry, name)
        self._live(page, sockets)


class SupervisedBlockingContext(_Life, Context):
    """The `BlockingModuleContext` of a module with a plain `def start`."""

    def __init__(
        self,
        registry: ChannelRegistry,
        name: str,
        page: SharedState,
        sockets: Mapping[str, socket.socket],
    ) -> None:
        super().__init__(registry, name)
        self._live(page, sockets)
