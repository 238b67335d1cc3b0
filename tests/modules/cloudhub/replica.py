"""Complete CloudHubs as replicas of one fleet: each with its directories, sockets and channels."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ipc import AsyncContext, open_contexts
from modules.cloudhub import main
from modules.cloudhub.config import CloudHubConfig
from modules.common.pki.certificates import Pki
from supervisor.api import KubernetesSettings, ReplicasSettings, Settings
from tests.modules.cloudhub.cloud import DEADLINE, HubContext
from tests.support.pki import copy_pki

NAMESPACE = "default"


@dataclass
class Replica:
    """A running CloudHub, with what `Join` needs of it."""

    name: str
    settings: Settings
    context: HubContext
    port: int
    peer_port: int
    edgecontroller: AsyncContext
    stop: Callable[[], None]

    @property
    def run_dir(self) -> Path:
        return self.settings.run_dir

    @property
    def csi(self) -> Path:
        return self.run_dir / "csi.sock"

    async def expect(self, node: str, operation: str) -> None:
        """Assert that the next message is this operation (connected, ...) about the node."""
        message = await self.edgecontroller.receive(DEADLINE)
        assert (message.resource, message.operation) == (f"node/{node}", operation)


def listening() -> socket.socket:
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    listener.setblocking(False)
    return listener


@asynccontextmanager
async def replica(
    name: str, kubeconfig: Path, tmp_path: Path, pki: Pki, **config: Any
) -> AsyncIterator[Replica]:
    """Run CloudHub as the replica `name`, with the CA of `pki`."""
    data_dir, run_dir = tmp_path / name, tmp_path / f"{name}.run"
    copy_pki(pki, data_dir)
    run_dir.mkdir(mode=0o700)
    settings = Settings(
        data_dir,
        run_dir,
        KubernetesSettings(kubeconfig=str(kubeconfig)),
        replicas=ReplicasSettings(True, name, NAMESPACE, lease_duration=3.0),
    )
    names = ("cloudhub", "edgecontroller", "devicecontroller")
    contexts = open_contexts({each: each for each in names})
    context = HubContext(contexts["cloudhub"].registry, "cloudhub")
    with listening() as websocket, listening() as replicas:
        context.sockets = {"websocket": websocket, "replicas": replicas}  # type: ignore[attr-defined]
        made = CloudHubConfig(uds_address=f"unix://{run_dir}/csi.sock", https=False, **config)
        task = asyncio.create_task(main.run(made, settings, context))  # type: ignore[arg-type]
        ready = asyncio.create_task(context.is_ready.wait())
        await asyncio.wait((task, ready), return_when=asyncio.FIRST_COMPLETED, timeout=DEADLINE)
        if task.done():
            await task
        try:
            ports = websocket.getsockname()[1], replicas.getsockname()[1]
            controller = contexts["edgecontroller"]
            yield Replica(name, settings, context, *ports, controller, context.stop)
        finally:
            context.stop()
            await asyncio.wait_for(task, DEADLINE)
            for each in (*contexts.values(), context):
                each.close()
