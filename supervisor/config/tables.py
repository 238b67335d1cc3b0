"""The tables of the configuration that do not belong to a module."""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

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

    @field_validator("after", "stop_before")
    @classmethod
    def _only_for_one_module(cls, names: tuple[str, ...], key: ValidationInfo) -> tuple[str, ...]:
        if names:
            raise ValueError(f"nothing: `{key.field_name}` belongs in [modules.NAME.supervision]")
        return names


class LogSettings(Table):
    """`[log]`."""

    verbosity: int = Field(0, ge=0, le=2)
    format: Literal["text", "json"] = "text"


class AdminTable(Table):
    """`[admin]`: the admin interface over TCP, in addition to the Unix socket."""

    address: str = Field(
        "", pattern=r"^(.+:[0-9]{1,5})?$", description="HOST:PORT, such as 127.0.0.1:9090"
    )
    token_file: str = ""


#: A DNS label and a DNS subdomain (RFC 1123), of which Kubernetes makes names.
_LABEL: Final = "[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
_SUBDOMAIN: Final = rf"{_LABEL}(\.{_LABEL})*"
_LONGEST_REPLICA: Final = 200
_LETTERS: Final = "lower-case letters, digits and -, with a letter or digit at both ends"


def is_replica(name: str) -> bool:
    """Whether a replica can have this name, which is in those of its Lease and certificate."""
    return len(name) <= _LONGEST_REPLICA and re.fullmatch(_SUBDOMAIN, name) is not None


#: What `is_replica` allows.
REPLICA_RULE: Final = f"a DNS name: labels of up to 63 {_LETTERS}, {_LONGEST_REPLICA} in all"


def _replica(name: str) -> str:
    if name and not is_replica(name):
        raise ValueError(REPLICA_RULE)
    return name


def _namespace(name: str) -> str:
    """Raise ValueError if no namespace can have this name; an empty one is no name."""
    if name and not re.fullmatch(_LABEL, name):
        raise ValueError(f"a name of a namespace: up to 63 {_LETTERS}")
    return name


class KubernetesTable(Table):
    """`[kubernetes]`: becomes `supervisor.api.KubernetesSettings`."""

    kubeconfig: str = ""
    context: str = ""
    master: str = Field(
        "", pattern=r"^(https?://.+)?$", description="a URL that begins with https:// or http://"
    )
    in_cluster: bool = False
    namespace: Annotated[str, AfterValidator(_namespace)] = ""
    qps: float = Field(500.0, gt=0)
    burst: int = Field(1000, ge=1)

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if self.in_cluster and (self.kubeconfig or self.master):
            raise ValueError("in_cluster = true without kubeconfig and master, or the other way")
        if self.context and not self.kubeconfig:
            raise ValueError("context only together with kubeconfig")
        return self


class ReplicasTable(Table):
    """`[replicas]`: becomes `supervisor.api.ReplicasSettings`."""

    enabled: bool = False
    name: Annotated[str, AfterValidator(_replica)] = ""
    namespace: Annotated[str, AfterValidator(_namespace)] = Field("kubeedge", min_length=1)
    lease_duration: float = Field(15.0, ge=1)
    address: str = Field("0.0.0.0", min_length=1)
    port: int = Field(10007, ge=0, le=65535)
