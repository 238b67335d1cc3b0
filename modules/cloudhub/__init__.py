"""CloudHub: holds the connections of edge nodes and passes messages both ways.

Kept light: the supervisor imports this for the class, everything else is imported in `start`.
"""

from __future__ import annotations

from typing import ClassVar

from modules.cloudhub.config import CloudHubConfig
from supervisor.api import Module, ModuleConfig, ModuleContext


class CloudHub(Module):
    """The module of cloud/pkg/cloudhub: websocket server for edges of KubeEdge v1.1."""

    name: ClassVar[str] = "cloudhub"
    group: ClassVar[str] = "cloudhub"
    preload: ClassVar[tuple[str, ...]] = ("uvloop", "modules.cloudhub.hub")
    Config: ClassVar[type[ModuleConfig]] = CloudHubConfig
    config: CloudHubConfig

    @classmethod
    def listeners(cls, config: CloudHubConfig) -> dict[str, tuple[str, int]]:
        return {"websocket": (config.address, config.port)}

    @classmethod
    def processes(cls, config: CloudHubConfig) -> int:
        """How many processes share the listening socket."""
        return config.processes

    @classmethod
    def unix_sockets(cls, config: CloudHubConfig) -> list[str]:
        """Where each process tells of its sessions."""
        numbers = range(2, config.processes + 1)
        return [f"{name}.sock" for name in (cls.name, *(f"{cls.name}-{n}" for n in numbers))]

    async def start(self, context: ModuleContext) -> None:
        """Serve edges until asked to stop; CannotStart when the certificates are unusable."""
        from modules.cloudhub.running import run

        await run(self.config, self.settings, context)

    def cleanup(self) -> None:
        """Remove the sockets of processes that were killed."""
        from modules.cloudhub.unixsocket import remove_dead

        remove_dead(self.settings.run_dir, self.name)
