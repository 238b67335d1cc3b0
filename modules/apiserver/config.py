"""[modules.apiserver] of the configuration."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from supervisor.api import ModuleConfig


class ApiServerConfig(ModuleConfig):
    """Where the embedded API server listens, and the names it is reached by."""

    address: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 6443
    # Further DNS names and IP addresses for the server certificate.
    names: list[str] = Field(default_factory=list)
