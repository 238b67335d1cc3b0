"""Three complete cloudcores on one Kubernetes API, and edges that dial any of them."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Any, Final

import psutil

from modules.common.kube import LEASES, NODES, OBJECTSYNCS, PODS, KubeClient
from modules.common.sync.sync_form import read_sync
from modules.hollow import manifests, tls
from modules.hollow.demo import observe
from modules.hollow.demo.harness import Cloudcore, running
from modules.hollow.edge import HollowEdge
from supervisor.api import KubernetesSettings
from tests.e2e.world import QUICK
from tests.support.forwarder import Forwarder

#: Seconds of the Leases in these tests.
LEASE: Final = 3.0
NAMESPACE: Final = "kubeedge"

Json = dict[str, Any]


class Replica:
    """One of the cloudcores, with the port of its websockets and its way to the API."""

    def __init__(self, name: str, cloudcore: Cloudcore, port: int, network: Forwarder) -> None:
        self.name = name
        self.cloudcore = cloudcore
        self.port = port
        self.network = network

    def signal(self, number: int) -> None:
        """Send a signal to all processes of the replica."""
        supervisor = psutil.Process(self.cloudcore.process.pid)
        for process in (*supervisor.children(recursive=True), supervisor):
            os.kill(process.pid, number)

    async def nodes_held(self) -> int:
        held: int = (await self.cloudcore.module("cloudhub"))["details"]["nodes_held"]
        return held


class Fleet:
    """The replicas, the API, and edges behind an address each."""

    def __init__(self, api: KubeClient, replicas: list[Replica], stack: AsyncExitStack) -> None:
        self.api = api
        self.replicas = replicas
        self.edges: dict[str, HollowEdge] = {}
        self._ways: dict[str, Forwarder] = {}
        self._stack = stack

    async def add(self, name: str, replica: Replica, kubeedge: str = "1.23") -> HollowEdge:
        """Join an edge that dials a replica."""
        way = Forwarder(replica.port)
        self._ways[name] = await self._stack.enter_async_context(way.running())
        if kubeedge == "1.1":
            await self.api.create(NODES, manifests.node(name))
        pki = self.replicas[0].cloudcore.settings.data_dir / "pki"
        url = f"wss://127.0.0.1:{way.port}"
        edge = HollowEdge(name, url, tls.issue(pki, name), kubeedge=kubeedge, timing=QUICK)
        self.edges[name] = await self._stack.enter_async_context(edge)
        await observe.in_api(self.api, NODES, name, None, lambda node: bool(node.get("status")))
        return edge

    def dials(self, name: str, replica: Replica) -> None:
        """Let an edge dial another replica from now on."""
        self._ways[name].target = replica.port

    async def move(self, name: str, replica: Replica) -> None:
        """Let an edge dial another replica now."""
        self.dials(name, replica)
        self.edges[name].link.drop()
        await self.held_by(name, replica)

    async def holder(self, node: str) -> tuple[str, int]:
        lease = await self.api.get(LEASES, f"node.{node}", NAMESPACE)
        return lease["spec"]["holderIdentity"], lease["spec"]["leaseTransitions"]

    async def held_by(self, node: str, replica: Replica) -> None:
        await observe.in_api(
            self.api,
            LEASES,
            f"node.{node}",
            NAMESPACE,
            lambda lease: lease["spec"]["holderIdentity"] == replica.name,
        )

    async def pod(self, name: str, node: str) -> None:
        await self.api.create(PODS, manifests.plain_pod(name, node), "default")

    async def relabel(self, name: str, value: str) -> None:
        await self.api.patch(PODS, name, {"metadata": {"labels": {"l": value}}}, "default")

    async def has(self, node: str, **labels: str) -> None:
        """Wait until an edge has these pods and no others, each with its label."""
        edge = self.edges[node]

        def found() -> Json:
            return {
                key.rpartition("/")[2]: pod["metadata"].get("labels", {}).get("l", "")
                for key, pod in edge.objects.items()
                if "/pod/" in key
            }

        try:
            async with asyncio.timeout(20):
                while found() != labels:
                    await asyncio.sleep(0.02)
        except TimeoutError:
            tails = "\n".join(
                f"{each.name}:\n{each.cloudcore.log_tail(40)}" for each in self.replicas
            )
            raise AssertionError(f"{node} has {found()}, not {labels}\n{tails}") from None

    async def recorded(self, kind: str, count: int) -> None:
        """Wait until the API has this many acknowledged objects of a kind."""

        async def acknowledged() -> int:
            syncs = (await self.api.list(OBJECTSYNCS, "default")).items
            read = filter(None, map(read_sync, syncs))
            return sum(sync.kind == kind and sync.version not in ("", "0") for sync in read)

        async with asyncio.timeout(20):
            while await acknowledged() != count:
                await asyncio.sleep(0.05)


@asynccontextmanager
async def three_replicas() -> AsyncIterator[Fleet]:
    """Run an API and three replicas on it."""
    async with AsyncExitStack() as stack:
        cluster = await stack.enter_async_context(running("--set", 'modules.enabled=["apiserver"]'))
        await cluster.wait_ready(60)
        kubeconfig = cluster.settings.data_dir / "kubeconfig"
        kubernetes = KubernetesSettings(kubeconfig=str(kubeconfig))
        settings = replace(cluster.settings, kubernetes=kubernetes)
        listening = (await cluster.module("apiserver"))["details"]["listen"]
        port = int(next(iter(listening.values())).rpartition(":")[2])
        replicas = []
        for name in ("r1", "r2", "r3"):
            network = Forwarder(port)
            await stack.enter_async_context(network.running())
            own = cluster.settings.data_dir / f"{name}.kubeconfig"
            own.write_text(kubeconfig.read_text().replace(f":{port}", f":{network.port}"))
            cloudcore = await stack.enter_async_context(
                running(
                    *("--set", f"kubernetes.kubeconfig={own}"),
                    *("--set", "replicas.enabled=true"),
                    *("--set", f"replicas.name={name}"),
                    *("--set", f"replicas.lease_duration={LEASE}"),
                    *("--set", 'replicas.address="127.0.0.1"'),
                    *("--set", "replicas.port=0"),
                    *("--set", 'modules.edgecontroller.record="objectsync"'),
                    *("--set", 'modules.devicecontroller.record="objectsync"'),
                )
            )
            replicas.append((name, cloudcore, network))
        for _, cloudcore, _ in replicas:
            await cloudcore.wait_ready(60)
        made = [
            Replica(name, cloudcore, await _port_of(cloudcore), network)
            for name, cloudcore, network in replicas
        ]
        api = await stack.enter_async_context(KubeClient.connect(settings, user_agent="fleet"))
        yield Fleet(api, made, stack)
        for replica in made:
            if replica.cloudcore.process.returncode is None:
                replica.signal(signal.SIGCONT)


async def _port_of(cloudcore: Cloudcore) -> int:
    return int((await cloudcore.websocket_url()).rpartition(":")[2])
