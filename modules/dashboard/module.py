"""The class of the dashboard: a status page in the browser, and verbs for who has logged in.

The supervisor imports this file for the class; everything else is imported in `start`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

from modules.dashboard.config import DashboardConfig
from supervisor.api import Listener, Module, ModuleConfig, ModuleContext, Settings


class Dashboard(Module):
    """The module dashboard: HTTP for browsers, a client of the admin socket and the API."""

    name: ClassVar[str] = "dashboard"
    group: ClassVar[str] = "dashboard"
    preload: ClassVar[tuple[str, ...]] = ("uvloop", "modules.dashboard.main")
    Config: ClassVar[type[ModuleConfig]] = DashboardConfig
    config: DashboardConfig

    @classmethod
    def listeners(
        cls,
        config: DashboardConfig,
        settings: Settings,  # noqa: ARG003
    ) -> dict[str, Listener]:
        return {"http": Listener(config.address, config.port)}

    @classmethod
    def banner(
        cls,
        listening: Mapping[str, str],  # noqa: ARG003
        settings: Settings,  # noqa: ARG003
        command: Callable[..., str],
    ) -> Sequence[tuple[str, str]]:
        return [
            ("look at it", command("dashboard", running=True)),
            ("", "prints a link that logs a browser in"),
        ]

    async def start(self, context: ModuleContext) -> None:
        """Serve the page until asked to stop."""
        from modules.dashboard.main import run

        await run(self.config, self.settings, context)
