"""The tables of the configuration that do not belong to a module."""

from __future__ import annotations

from typing import Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from supervisor.unit.restart_policy import Supervision


class Table(BaseModel):
    """A table of the file: unknown keys are faults, and values are not converted."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class SupervisorTable(Supervision):
    """`[supervisor]`: the defaults of `[modules.NAME.supervision]`, and keys of the whole."""

    max_deliveries: int = Field(3, ge=1)
    """a message that crashed its module this many times is set aside"""
    shutdown_timeout: float = Field(25.0, gt=0)
    """seconds for all modules together, a little less than a pod has in Kubernetes (30 s)"""

    preload: bool = True
    """import what modules name for it once, in the supervisor, before it forks"""
    crash_reports: int = Field(100, ge=1)
    """number of reports that are kept"""

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
    """`[admin]`: the admin interface over TCP, in addition to the Unix socket."""

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
            raise ValueError("in_cluster = true without kubeconfig and master, or the other way")
        if self.context and not self.kubeconfig:
            raise ValueError("context only together with kubeconfig")
        return self


_LABEL: Final = "[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"


class ReplicasTable(Table):
    """`[replicas]`: becomes `supervisor.api.ReplicasSettings`."""

    enabled: bool = False
    name: str = Field("", max_length=200, pattern=rf"^({_LABEL}(\.{_LABEL})*)?$")
    """part of the name of a Lease, and the DNS name of a certificate"""
    namespace: str = Field("kubeedge", min_length=1)
    lease_duration: float = Field(15.0, ge=1)
    address: str = Field("0.0.0.0", min_length=1)
    port: int = Field(10007, ge=0, le=65535)
