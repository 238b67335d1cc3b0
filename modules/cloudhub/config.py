"""The configuration table [modules.cloudhub]."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from ipc.unix_socket import path_fault
from supervisor.api import ModuleConfig


class CloudHubConfig(ModuleConfig):
    """Where edges connect, which ones may, and the limits on each."""

    address: str = Field("0.0.0.0", min_length=1, description="address to listen on")
    port: int = Field(10000, ge=0, le=65535, description="0 selects a free port")

    https: bool = Field(
        True, description="whether edges can join with a token, and renew their certificates"
    )
    https_port: int = Field(
        10002, ge=0, le=65535, description="port for joining; 0 selects a free port"
    )

    ca: str = Field("", description="PEM file: the CA that signs the edges' certificates")
    cert: str = Field("", description="PEM file: the server's certificate")
    key: str = Field("", description="PEM file: the key of cert")
    ca_key: str = Field(
        "", description="PEM file: the key of ca; empty: no certificates are signed for edges"
    )
    names: list[str] = Field(
        default_factory=list,
        description="additional DNS names and addresses for the server certificate that is "
        "created when none is configured",
    )

    edge_certificate_days: int = Field(
        365, ge=1, le=36500, description="days for which a certificate of an edge is valid"
    )
    token_refresh_hours: int = Field(
        12,
        ge=1,
        le=8760,
        description="hours until the default join token is replaced; it is good for twice as long",
    )

    authorization: Literal["strict", "any-trusted"] = Field(
        "strict",
        description="strict: a certificate is accepted only for the node in its name; "
        "any-trusted: every certificate of the CA is accepted for every node",
    )
    node_limit: int = Field(1000, ge=1, description="maximum number of connected nodes")

    keepalive_interval: float = Field(
        30.0, gt=0, description="seconds without a keepalive until a node is disconnected"
    )
    write_timeout: float = Field(
        30.0, gt=0, description="seconds that a write to a node may take before it is disconnected"
    )
    handshake_timeout: float = Field(
        10.0,
        gt=0,
        description="timeout in seconds of the TLS handshake, and of the websocket request",
    )

    rate_limit: float = Field(
        1000.0,
        ge=0,
        description="messages per second from a node before reading is paused; 0: no limit",
    )
    rate_burst: int = Field(2000, ge=1, description="burst of the rate limit, in messages")

    queue_messages: int = Field(
        4096,
        ge=1,
        description="messages that may be queued for a slow node before it is disconnected",
    )
    queue_bytes: int = Field(16 * 1024 * 1024, ge=1024, description="the same in bytes")
    max_message_bytes: int = Field(
        4 * 1024 * 1024, ge=1024, description="largest message that a node may send, in bytes"
    )

    processes: int = Field(1, ge=1, le=16, description="processes that share the work")
    stop_spread: float = Field(
        3.0,
        ge=0,
        description="seconds over which the sessions are closed when cloudhub stops, to "
        "spread the reconnects",
    )
    uds_address: str = Field(
        "", description="unix:///PATH of the socket for the CSI driver; empty: none"
    )

    @model_validator(mode="after")
    def _uds_address_is_one(self) -> Self:
        if self.uds_address and not self.uds_address.startswith("unix:///"):
            raise ValueError(f"uds_address = {self.uds_address!r}: must be unix:///PATH")
        if fault := path_fault(Path(self.uds_address.removeprefix("unix://"))):
            raise ValueError(f"uds_address: {fault}; choose a shorter path")
        return self

    @model_validator(mode="after")
    def _all_files_or_none(self) -> Self:
        given = [bool(self.ca), bool(self.cert), bool(self.key)]
        if any(given) and not all(given):
            raise ValueError(
                "ca, cert and key go together: set all three, or none to use the certificates "
                "that cloudcore creates in its data directory"
            )
        if self.ca_key and not self.ca:
            raise ValueError("ca_key is the key of ca: set ca, cert and key, too")
        return self
