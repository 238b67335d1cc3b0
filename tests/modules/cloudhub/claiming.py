"""The hub of one of several replicas, and the Lease of a node as another one writes it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from ipc import open_contexts
from modules.cloudhub.config import CloudHubConfig
from modules.cloudhub.endpoint.tls import ServerTls, TlsFiles
from modules.cloudhub.hub import Hub
from modules.cloudhub.replicas.membership import Membership
from modules.common.kube import LEASES, KubeClient
from modules.common.pki.certificates import Pki
from supervisor.api import ReplicasSettings
from tests.modules.cloudhub.cloud import DEADLINE, Cloud, HubContext

NAMESPACE = "default"
NODE = "edge-1"
LEASE = "node.edge-1"


@asynccontextmanager
async def running(
    api: KubeClient, pki: Pki, name: str = "a", *, duration: float = 15.0
) -> AsyncIterator[Cloud]:
    """Run the hub of a replica."""
    names = {"cloudhub": "cloudhub", "edgecontroller": "x", "devicecontroller": "x"}
    contexts = open_contexts(
        names | {name: name for name in ("edgecontroller", "devicecontroller")}
    )
    context = HubContext(contexts["cloudhub"].registry, "cloudhub")
    settings = ReplicasSettings(True, name, NAMESPACE, lease_duration=duration)
    membership = Membership(api, settings, context)  # type: ignore[arg-type]
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        listener.setblocking(False)
        hub = Hub(
            CloudHubConfig(),
            context,  # type: ignore[arg-type]
            ServerTls(TlsFiles.of(pki)),
            membership=membership,
            longest_stop=15.0,
        )
        task = asyncio.create_task(hub.run(listener))
        try:
            async with asyncio.timeout(DEADLINE):
                await context.is_ready.wait()
            yield Cloud(hub, context, listener.getsockname()[1], contexts)
        finally:
            context.stop()
            await asyncio.wait_for(task, DEADLINE)
            for each in (*contexts.values(), context):
                each.close()


async def lease(api: KubeClient, name: str = LEASE) -> Any:
    return (await api.get(LEASES, name, NAMESPACE))["spec"]


async def take(api: KubeClient, replica: str, transitions: int = 0) -> None:
    """Take the node as another replica does, or with that number of transitions."""
    found = await api.get(LEASES, LEASE, NAMESPACE)
    found["spec"] |= {
        "holderIdentity": replica,
        "leaseTransitions": transitions or found["spec"]["leaseTransitions"] + 1,
    }
    await api.replace(LEASES, found, NAMESPACE)
