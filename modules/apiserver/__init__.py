"""apiserver: an embedded Kubernetes API server, for machines without a cluster.

Its state is one SQLite file in the data directory; storage/store.py documents its durability.
"""

from __future__ import annotations

import ipaddress
import shlex
import socket
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

from modules.apiserver.config import ApiServerConfig
from supervisor.api import CannotStart, Listener, Module, ModuleConfig, ModuleContext, Settings

REPORT_SECONDS = 5.0


class ApiServer(Module):
    name: ClassVar[str] = "apiserver"
    group: ClassVar[str] = "apiserver"
    preload: ClassVar[tuple[str, ...]] = ("uvloop", "modules.apiserver.http.server")
    Config: ClassVar[type[ModuleConfig]] = ApiServerConfig

    @classmethod
    def listeners(
        cls,
        config: ApiServerConfig,
        settings: Settings,  # noqa: ARG003
    ) -> dict[str, Listener]:
        return {"https": Listener(config.address, config.port)}

    @classmethod
    def banner(
        cls,
        listening: Mapping[str, str],  # noqa: ARG003
        settings: Settings,
        command: Callable[..., str],  # noqa: ARG003
    ) -> Sequence[tuple[str, str]]:
        kubeconfig = str(settings.data_dir / "kubeconfig")
        kubectl = f"kubectl --kubeconfig {shlex.quote(kubeconfig)} get nodes"
        return [("kubeconfig", kubeconfig), ("kubectl", kubectl)]

    @classmethod
    def not_needed(cls, settings: Settings) -> str | None:
        if settings.kubernetes.configured:
            return "a Kubernetes cluster is configured in [kubernetes]"
        return None

    async def start(self, context: ModuleContext) -> None:
        """Serve until asked to stop.

        Raises CannotStart if the file is damaged, and TemporaryFailure while the disk is full: the
        supervisor retries until there is space.
        """
        import asyncio
        import gc

        from modules.apiserver.http.server import Server
        from modules.apiserver.storage.database import StoreError, StoreInUseError

        try:
            server = Server(self.settings.data_dir, self._names())
        except StoreInUseError:
            raise
        except (StoreError, ValueError) as error:
            raise CannotStart(str(error)) from error
        try:
            # The objects just read stay in memory: keep the garbage collector away from them.
            gc.freeze()
            await server.start(context.sockets["https"])
            context.report(url=server.url, objects=len(server.store), aside=server.aside)
            context.ready()
            stopped = asyncio.ensure_future(context.stopped())
            upkeep = asyncio.ensure_future(server.failed())
            waiting = {stopped, upkeep}
            while not any(future.done() for future in waiting):
                await asyncio.wait(
                    waiting, timeout=REPORT_SECONDS, return_when=asyncio.FIRST_COMPLETED
                )
                context.report(
                    objects=len(server.store),
                    watches=server.watches,
                    aside=server.aside,
                    trouble=server.store.trouble.reason,
                )
            for future in waiting:
                future.cancel()
            if upkeep.done() and not stopped.done():
                upkeep.result()
        finally:
            await server.stop()

    def _names(self) -> list[str]:
        """Return the names for the server certificate: configured ones and the listen address."""
        config: ApiServerConfig = self.config
        names = list(config.names)
        if not _listens_everywhere(config.address):
            names.append(config.address)
        else:
            names.append(socket.gethostname())
        return names


def _listens_everywhere(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_unspecified
    except ValueError:
        return False
