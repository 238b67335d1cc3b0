"""The configuration section [modules.apiserver]."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from supervisor.api import ModuleConfig


class ApiServerConfig(ModuleConfig):
    """The listen address of the embedded API server and the names of its certificate."""

    address: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 6443
    # Further DNS names and IP addresses for the server certificate.
    names: list[str] = Field(default_factory=list)
