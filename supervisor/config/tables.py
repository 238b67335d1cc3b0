"""The tables that belong to no module."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from supervisor.unit.restart_policy import Supervision


class Table(BaseModel):
    """A table of the file: unknown keys are faults, and no value is bent into another type."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class SupervisorTable(Supervision):
    """`[supervisor]`: how every module is supervised that does not say otherwise."""

    max_deliveries: int = Field(3, ge=1)
    """a message is set aside when its handler has died with it so often"""
    shutdown_timeout: float = Field(25.0, gt=0)
    """seconds for all modules together, a little less than Kubernetes gives a pod (30 s)"""

    preload: bool = True
    """import what modules name for it once, in the supervisor"""
    crash_reports: int = Field(100, ge=1)
    """how many are kept"""

    @field_validator("after")
    @classmethod
    def _only_for_one_module(cls, after: tuple[str, ...]) -> tuple[str, ...]:
        if after:
            raise ValueError("nothing: `after` belongs in [modules.NAME.supervision]")
        return after


class LogSettings(Table):
    """`[log]`."""

    verbosity: int = Field(0, ge=0, le=2)
    format: Literal["text", "json"] = "text"


class AdminTable(Table):
    """`[admin]`: the admin interface over TCP, beside the Unix socket."""

    address: str = Field("", pattern=r"^(.+:[0-9]{1,5})?$")
    token_file: str = ""


class KubernetesTable(Table):
    """`[kubernetes]`: becomes `supervisor.api.KubernetesSettings`."""

    kubeconfig: str = ""
    context: str = ""
    master: str = Field("", pattern=r"^(https?://.+)?$")
    in_cluster: bool = False
    namespace: str = ""
    qps: float = Field(500.0, gt=0)
    burst: int = Field(1000, ge=1)

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if self.in_cluster and (self.kubeconfig or self.master):
            raise ValueError("in_cluster = true, or else kubeconfig and master, but not both")
        if self.context and not self.kubeconfig:
            raise ValueError("context together with the kubeconfig that has it")
        return self
