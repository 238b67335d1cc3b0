"""What `start` is given: the channels' context, and the module's own life."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Any

from ipc import AsyncContext, Context, Registry
from supervisor.page import Page


class _Life:
    """What both kinds of context have beside the channels' operations."""

    _page: Page
    _details: dict[str, Any]
    sockets: Mapping[str, socket.socket]

    def _live(self, page: Page, sockets: Mapping[str, socket.socket]) -> None:
        self._page = page
        self._details = {}
        self.sockets = sockets

    def ready(self) -> None:
        """Say that the module does its work from now on."""
        self._page.say_ready()

    def alive(self) -> None:
        """Give the watchdog a sign of life, in the middle of work that takes its time."""
        self._page.say_alive()

    def report(self, **details: Any) -> None:
        """Update the module's `details` in `cloudcore status`: JSON-like, 64 KiB in all.

        Cheap: nobody is woken. Values given before stay until they are replaced.
        """
        self._details.update(details)
        self._page.say_details(self._details)


class ModuleContext(_Life, AsyncContext):
    """For a module with `async def start`.

    `sockets` are the listening sockets that its `listeners` asked for, non-blocking.
    """

    def __init__(
        self, registry: Registry, name: str, page: Page, sockets: Mapping[str, socket.socket]
    ) -> None:
        super().__init__(registry, name)
        self._live(page, sockets)


class BlockingModuleContext(_Life, Context):
    """For a module with a plain `def start`."""

    def __init__(
        self, registry: Registry, name: str, page: Page, sockets: Mapping[str, socket.socket]
    ) -> None:
        super().__init__(registry, name)
        self._live(page, sockets)
