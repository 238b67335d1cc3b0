"""The configuration table [modules.dashboard]."""

from __future__ import annotations

from pydantic import Field

from supervisor.api import ModuleConfig


class DashboardConfig(ModuleConfig):
    """Where the status page listens, and who may see it."""

    address: str = Field("127.0.0.1", min_length=1, description="address to listen on")
    port: int = Field(10008, ge=0, le=65535, description="0 selects a free port")
    names: list[str] = Field(
        default_factory=list,
        description="additional host names under which browsers reach the page, such as that of "
        "a proxy; requests for other hosts are refused",
    )
    open_to_read: bool = Field(
        False,
        description="whether everybody who reaches the port may look, without a login: not at "
        "logs, crash reports, dead letters and tokens",
    )
    session_hours: float = Field(12.0, gt=0, description="hours until a login ends")
