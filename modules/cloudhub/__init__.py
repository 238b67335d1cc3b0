"""CloudHub: holds the connections of edge nodes and passes messages both ways.

Kept light: the supervisor imports this for the class, everything else is imported in `start`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from modules.cloudhub.config import CloudHubConfig
from supervisor.module import Module, ModuleConfig

if TYPE_CHECKING:
    from supervisor.context import ModuleContext


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

    async def start(self, context: ModuleContext) -> None:
        """Serve edges until asked to stop; CannotStart when the certificates are unusable."""
        from modules.cloudhub.hub import Hub
        from modules.cloudhub.tls import ServerTls, tls_files

        tls = ServerTls(tls_files(self.config, self.settings))
        await Hub(self.config, context, tls).run(context.sockets["websocket"])
