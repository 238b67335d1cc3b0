"""The module cloudhub, as the supervisor knows it.

The supervisor imports this file for the class; everything else is imported in `start`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar, Final

from modules.cloudhub.config import CloudHubConfig
from supervisor.api import (
    Check,
    Column,
    Listener,
    LiveTable,
    Module,
    ModuleConfig,
    ModuleContext,
    Problem,
    Settings,
)

#: The default server of `cloudcore hollow`.
_HOLLOW_SERVER: Final = "127.0.0.1:10000"

#: Addresses at which a listener that is bound to all addresses can be reached.
_LOOPBACK: Final = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}

_EDGE_COLUMNS: Final = (
    Column("NODE", "node"),
    Column("CONNECTED", "since", "since"),
    Column("PROTOCOL", "protocol", optional=True),
    Column("ADDRESS", "address", optional=True),
    Column("IN/s", "messages_in", "rate"),
    Column("OUT/s", "messages_out", "rate"),
    Column("QUEUE", "queue_messages", "count"),
    Column("BYTES", "queue_bytes", "bytes", optional=True),
    Column("KEEPALIVE", "keepalive", "since"),
    Column("EXPIRES", "certificate.expires", "until", optional=True),
)


class CloudHub(Module):
    """The module cloudhub (cloud/pkg/cloudhub): a websocket server for edge nodes."""

    name: ClassVar[str] = "cloudhub"
    group: ClassVar[str] = "cloudhub"
    preload: ClassVar[tuple[str, ...]] = (
        *("uvloop", "modules.cloudhub.main"),
        "modules.cloudhub.joining.joining",  # which main.py imports if edges can join
    )
    Config: ClassVar[type[ModuleConfig]] = CloudHubConfig
    config: CloudHubConfig

    @classmethod
    def listeners(cls, config: CloudHubConfig, settings: Settings) -> dict[str, Listener]:
        listening = {"websocket": Listener(config.address, config.port)}
        if config.https:
            listening["https"] = Listener(config.address, config.https_port)
        if (replicas := settings.replicas).enabled:
            at = Listener(replicas.address, replicas.port, table="[replicas]")
            listening["replicas"] = at
        return listening

    @classmethod
    def banner(
        cls,
        listening: Mapping[str, str],
        settings: Settings,  # noqa: ARG003
        command: Callable[..., str],
    ) -> Sequence[tuple[str, str]]:
        server = _reachable(listening["websocket"])
        option = ["--server", f"wss://{server}"] if server != _HOLLOW_SERVER else []
        if "https" in listening:
            join = [
                ("join", command("token", "create", "--print-join-command")),
                ("", "prints the line to type on the edge node"),
            ]
        else:
            join = [
                ("join", command("certs", "issue", "NODE", "--out", "DIR")),
                ("", "then take DIR to the edge node, and point its edgecore at cloudhub"),
            ]
        return [
            *join,
            ("or try", command("hollow", "NODE", *option)),
            ("", "a simulated edge node"),
        ]

    @classmethod
    def problems(cls, config: CloudHubConfig, settings: Settings) -> Sequence[Problem]:
        """Check that replicas can have a certificate each, by which they know each other."""
        if not settings.replicas.enabled or not config.ca or config.ca_key:
            return []
        reason = "replicas know each other by the key of the CA, and there is none"
        hint = "set it to the key of modules.cloudhub.ca, the same for all replicas"
        return [Problem("modules.cloudhub.ca_key", reason, hint)]

    @classmethod
    def checks(
        cls, config: CloudHubConfig, settings: Settings, command: Callable[..., str]
    ) -> Sequence[Check]:
        from modules.cloudhub.checks import checks

        return checks(config, settings, command)

    @classmethod
    def processes(cls, config: CloudHubConfig) -> int:
        """Return how many processes share the listening socket."""
        return config.processes

    @classmethod
    def unix_sockets(cls, config: CloudHubConfig) -> list[str]:
        """Return the names of the sockets at which the processes serve `cloudcore nodes`."""
        numbers = range(2, config.processes + 1)
        return [f"{name}.sock" for name in (cls.name, *(f"{cls.name}-{n}" for n in numbers))]

    @classmethod
    def tables(cls, config: CloudHubConfig) -> list[LiveTable]:
        """Return the table of connected edges, which nodes.py serves."""
        return [LiveTable("edges", _EDGE_COLUMNS, "/nodes", tuple(cls.unix_sockets(config)))]

    async def start(self, context: ModuleContext) -> None:
        """Serve edges until asked to stop; raises CannotStart if the certificates are unusable."""
        from modules.cloudhub.main import run

        await run(self.config, self.settings, context)

    def cleanup(self) -> None:
        """Remove the sockets of processes that were killed."""
        from modules.cloudhub.unix_server import remove_dead

        remove_dead(self.settings.run_dir, self.name)


def _reachable(address: str) -> str:
    """Return HOST:PORT at which this machine reaches a listener."""
    host, _, port = address.rpartition(":")
    return f"{_LOOPBACK.get(host, host)}:{port}"
