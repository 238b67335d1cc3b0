"""Three complete cloudcores on one Kubernetes API, and edges that dial any of them."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from modules.common.kube import (
    LEASES,
    NAMESPACES,
    NODES,
    OBJECTSYNCS,
    PODS,
    AlreadyExists,
    KubeClient,
    NotFound,
)
from modules.common.sync.sync_form import read_sync
from modules.hollow import manifests, tls
from modules.hollow.demo import observe
from modules.hollow.demo.harness import Cloudcore, running
from modules.hollow.edge import HollowEdge
from modules.hollow.events import Event
from supervisor.api import KubernetesSettings, Settings
from tests.e2e.replica import Replica
from tests.e2e.world import QUICK
from tests.support.forwarder import Forwarder

#: The kubeconfig of a cluster on this machine to use instead of an embedded API server. What these
#: tests make there is removed, but for their namespace.
CLUSTER: Final = os.environ.get("REPLICAS_KUBECONFIG", "")
#: Of the Leases: a cluster may have others.
NAMESPACE: Final = "cloudcore-replicas"
#: What an edge of 1.1 cannot say as its connection ends, it says with the next report of all.
TIMING: Final = replace(QUICK, meta_sync=2)

_OPTIONS: Final = ("--set", f"replicas.namespace={NAMESPACE}")

Json = dict[str, Any]


class Fleet:
    """The replicas, the API, and edges behind a load balancer, each with a way of its own."""

    def __init__(
        self,
        cluster: Cloudcore | None,
        api: KubeClient,
        replicas: list[Replica],
        stack: AsyncExitStack,
    ) -> None:
        self.cluster = cluster
        self.api = api
        self.replicas = replicas
        self.edges: dict[str, HollowEdge] = {}
        self.ways: dict[str, Forwarder] = {}
        self.events: list[Event] = []
        self._chosen: dict[str, Replica] = {}
        self._stack = stack

    async def add(self, name: str, replica: Replica, kubeedge: str = "1.23") -> HollowEdge:
        """Join an edge that dials a replica."""
        way = self.ways[name] = Forwarder(0)
        await self._stack.enter_async_context(way.running())
        self.dials(name, replica)
        if kubeedge == "1.1":
            await self.api.create(NODES, manifests.node(name))
        edge = HollowEdge(
            name,
            f"wss://127.0.0.1:{way.port}",
            tls.issue(self.replicas[0].cloudcore.settings.data_dir / "pki", name),
            kubeedge=kubeedge,
            timing=TIMING,
            keep_messages=500,
            on_event=self.events.append,
        )
        self.edges[name] = await self._stack.enter_async_context(edge)
        await observe.in_api(self.api, NODES, name, None, lambda node: bool(node.get("status")))
        return edge

    def dials(self, name: str, replica: Replica) -> None:
        """Let an edge dial another replica from now on, while that one runs."""
        self._chosen[name] = replica
        self.balance()

    def balance(self) -> None:
        """Lead new connections to replicas that run."""
        for name, way in self.ways.items():
            first = self.replicas.index(self._chosen[name])
            order = self.replicas[first:] + self.replicas[:first]
            way.target = next((each.front.port for each in order if each.runs), 0)

    async def move(self, name: str, replica: Replica) -> None:
        """Let an edge dial another replica now."""
        self.dials(name, replica)
        self.edges[name].link.drop()
        await self.held_by(name, replica)

    async def kill(self, replica: Replica) -> None:
        """End all processes of a replica at once."""
        killing = asyncio.create_task(replica.kill())
        await asyncio.sleep(0)
        self.balance()
        await killing

    async def stop(self, replica: Replica) -> None:
        """Stop a replica in order, after the load balancer has learnt of it."""
        replica.runs = False
        self.balance()
        await replica.stop()

    async def start(self, replica: Replica) -> Replica:
        """Start a replica that is new, or has ended."""
        if not replica.is_open:
            self._stack.push_async_callback(replica.close)
            await replica.open()
        await replica.launch()
        await replica.ready()
        self.balance()
        return replica

    async def replace(self, replica: Replica) -> Replica:
        """Start another replica, and stop this one when edges are led to the new one."""
        new = await self.start(replica.successor())
        self.replicas[self.replicas.index(replica)] = new
        chosen = {name: new if each is replica else each for name, each in self._chosen.items()}
        self._chosen = chosen
        await self.stop(replica)
        return new

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
                key.rpartition("/")[2]: label_of(pod)
                for key, pod in edge.objects.items()
                if "/pod/" in key
            }

        try:
            async with asyncio.timeout(20):
                while found() != labels:
                    await asyncio.sleep(0.02)
        except TimeoutError:
            tails = "\n".join(each.log() for each in self.replicas)
            raise AssertionError(f"{node} has {found()}, not {labels}\n{tails}") from None

    async def in_step(self, node: str) -> None:
        """Wait until an edge has the pods that the API has now, each with its label."""
        selector = f"spec.nodeName={node}"
        pods = (await self.api.list(PODS, "default", field_selector=selector)).items
        labels = {pod["metadata"]["name"]: label_of(pod) for pod in pods}
        await self.has(node, **labels)

    async def clean_up(self) -> None:
        """Remove what has been made in a cluster that stays."""
        for name in self.edges:
            selector = f"spec.nodeName={name}"
            for pod in (await self.api.list(PODS, "default", field_selector=selector)).items:
                await self.api.delete(PODS, pod["metadata"]["name"], "default", grace_period=0)
            with suppress(NotFound):
                await self.api.delete(NODES, name)
        for lease in (await self.api.list(LEASES, NAMESPACE)).items:
            with suppress(NotFound):
                await self.api.delete(LEASES, lease["metadata"]["name"], NAMESPACE)

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
async def three_replicas(*options: str) -> AsyncIterator[Fleet]:
    """Run an API and three replicas on it; `options` are further ones of all of them."""
    async with AsyncExitStack() as stack:
        base = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cloudcore-")))
        cluster = None
        if not CLUSTER:
            only = ("--set", 'modules.enabled=["apiserver"]')
            cluster = await stack.enter_async_context(running(*only, *options, base=base))
            await cluster.wait_ready(60)
        kubeconfig = Path(CLUSTER) if cluster is None else base / "data" / "kubeconfig"
        settings = Settings(base, base, KubernetesSettings(kubeconfig=str(kubeconfig)))
        api = await stack.enter_async_context(KubeClient.connect(settings, user_agent="fleet"))
        with suppress(AlreadyExists):
            await api.create(NAMESPACES, {"metadata": {"name": NAMESPACE}})
        replicas = []
        for name in ("r1", "r2", "r3"):
            replica = Replica(name, base, kubeconfig, (*_OPTIONS, *options))
            stack.push_async_callback(replica.close)
            await replica.open()
            await replica.launch()
            replicas.append(replica)
        for replica in replicas:
            await replica.ready()
        fleet = Fleet(cluster, api, replicas, stack)
        try:
            yield fleet
        finally:
            if cluster is None:
                await fleet.clean_up()


def label_of(pod: Json) -> str:
    label: str = pod["metadata"].get("labels", {}).get("l", "")
    return label
