"""A fleet moves from one cloudcore to another and back, over the record in ObjectSyncs.

Two cloudcores with data directories of their own serve one cluster, one after the other, at one
port. What changes while nobody serves is sent to the edges that lack it; what an edge has
acknowledged to one cloudcore is not sent to it by the other. `cloudcore takeover check` has said
before how much each edge is sent.
"""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Final

import pytest

from modules.common.kube import (
    CLUSTEROBJECTSYNCS,
    CONFIGMAPS,
    NODES,
    OBJECTSYNCS,
    PODS,
    SECRETS,
    KubeClient,
)
from modules.common.sync.sync_form import read_sync
from modules.hollow import manifests, tls
from modules.hollow.demo import observe
from modules.hollow.demo.harness import Cloudcore, running
from modules.hollow.edge import HollowEdge
from modules.takeover.check.difference import (
    KINDS,
    POD,
    Difference,
    difference,
    recorded,
    wanted,
)
from tests.support.waiting import eventually

from .world import QUICK

#: An edge and its version of KubeEdge.
FLEET: Final = {
    "changed": "1.23",
    "deleted": "1.20",
    "added": "1.23",
    "replaced": "1.21",
    "untouched": "1.23",
    "asleep": "1.19",
}
SETTLED: Final = 30.0

Sent = Counter[tuple[str, str]]
"""Operations and keys of objects, `namespace/type/name`, with their numbers."""


class Move:
    """The cluster, its edges, and the cloudcores that serve them in turn."""

    kinds = KINDS

    def __init__(self, api: KubeClient, kubeconfig: str) -> None:
        self.api = api
        self._rounds = 0
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self.url = f"wss://127.0.0.1:{port}"
        self.options: tuple[str, ...] = (
            *("--set", f"kubernetes.kubeconfig={kubeconfig}"),
            *("--set", f"modules.cloudhub.port={port}"),
            *("--set", 'modules.edgecontroller.record="objectsync"'),
        )
        self.edges: dict[str, HollowEdge] = {}

    async def connect(
        self, stack: AsyncExitStack, cloudcore: Cloudcore, fleet: dict[str, str]
    ) -> None:
        """Have edges of these versions connect and register."""
        for name, version in fleet.items():
            context = tls.issue(cloudcore.settings.data_dir / "pki", name)
            edge = HollowEdge(
                name, self.url, context, kubeedge=version, timing=QUICK, keep_messages=10_000
            )
            self.edges[name] = await stack.enter_async_context(edge)
        for name in fleet:
            await observe.in_api(self.api, NODES, name, None, lambda node: bool(node["status"]))

    async def join(self, stack: AsyncExitStack, cloudcore: Cloudcore) -> None:
        """Have each edge get a certificate and its objects."""
        await self.connect(stack, cloudcore, FLEET)
        for name in FLEET:
            await self.configmap(f"cm-{name}", "1")
            secret = {"metadata": {"name": f"s-{name}"}, "stringData": {"k": "1"}}
            await self.api.create(SECRETS, secret, "default")
            for pod in ("x", "y"):
                await self.pod(f"{pod}-{name}", name)
            await self.configmap(f"end-{name}", "1")
            await self.pod(f"end-{name}", name, f"end-{name}", secret=False)

    async def configmap(self, name: str, value: str) -> None:
        await self.api.create(CONFIGMAPS, manifests.configmap(name, k=value), "default")

    async def pod(self, name: str, edge: str, configmap: str = "", *, secret: bool = True) -> None:
        made = manifests.pod(name, edge, configmap or f"cm-{edge}")
        if secret:
            made["spec"]["imagePullSecrets"] = [{"name": f"s-{edge}"}]
        # Without the token of a service account: its configmap would be one more object.
        made["spec"]["automountServiceAccountToken"] = False
        await self.api.create(PODS, made, "default")

    async def settle(self) -> None:
        """Wait until each edge has acknowledged the present state of all that it has.

        A pod's status that its edge has reported makes a state, too, which is not sent: a change of
        the pod makes one that is.
        """
        async with asyncio.timeout(SETTLED):
            while True:
                self._rounds += 1
                label = {"metadata": {"labels": {"round": str(self._rounds)}}}
                for pod in (await self.api.list(PODS, "default")).items:
                    await self.api.patch(PODS, pod["metadata"]["name"], label, "default")
                with suppress(TimeoutError):
                    async with asyncio.timeout(4):
                        await eventually(self.predicted, lambda found: not any_lacks(found))
                    return

    async def predicted(self) -> dict[str, Difference]:
        """Return what `cloudcore takeover check` says that each edge is sent."""
        listed = {kind: (await self.api.list(each)).items for kind, each in self.kinds.items()}
        syncs = [
            sync
            for resource in (OBJECTSYNCS, CLUSTEROBJECTSYNCS)
            for obj in (await self.api.list(resource)).items
            if (sync := read_sync(obj))
        ]
        wants, has = wanted(listed.pop(POD, []), listed), recorded(syncs, self.kinds)
        return {name: difference(name, wants, has) for name in self.edges}

    def forget(self) -> None:
        for edge in self.edges.values():
            edge.received.clear()

    def sent(self, edge: str) -> Sent:
        """Return what an edge was sent since `forget`."""
        found: Sent = Counter()
        for message in self.edges[edge].received:
            key = message.resource.partition("/node/")[2].partition("/")[2] or message.resource
            kind = key.split("/")[1] if key.count("/") == 2 else ""
            if kind in KINDS and message.operation in {"insert", "update", "delete"}:
                found[message.operation, key] += 1
        return found

    async def take_over(self, expected: dict[str, Sent]) -> None:
        """Wait until a cloudcore that has just started has sent what edges lack, and no more."""
        for name, sent in expected.items():
            try:
                await self.edges[name].wait_until(
                    lambda name=name, sent=sent: sent <= self.sent(name), SETTLED, "what it lacks"
                )
            except TimeoutError as error:
                raise AssertionError(f"{name} was sent {self.sent(name)}, not {sent}") from error
        # What was to be sent before this has been sent by then.
        self._rounds += 1
        end = str(self._rounds)
        for name, edge in self.edges.items():
            await self.api.patch(CONFIGMAPS, f"end-{name}", {"data": {"k": end}}, "default")
            key = f"default/configmap/end-{name}"
            await edge.wait_for(key, lambda found: found["data"]["k"] == end, SETTLED)
            expected[name] = expected.get(name, Counter()) + Counter({("update", key): 1})
        assert {name: self.sent(name) for name in FLEET} == expected


def any_lacks(differences: dict[str, Difference]) -> bool:
    return any(each.messages for each in differences.values())


def of(*sent: tuple[str, str]) -> Sent:
    return Counter((operation, f"default/{key}") for operation, key in sent)


@asynccontextmanager
async def serving(move: Move, base: Path) -> AsyncIterator[Cloudcore]:
    """Run a cloudcore whose data stay when it is stopped."""
    base.mkdir(exist_ok=True)
    async with running(*move.options, base=base) as cloudcore:
        await cloudcore.wait_ready(30)
        yield cloudcore
        await cloudcore.stop(20)


async def first_changes(move: Move) -> dict[str, Sent]:
    """Change something for most edges; return what each of them lacks then."""
    api = move.api
    await api.patch(CONFIGMAPS, "cm-changed", {"data": {"k": "2"}}, "default")
    await api.delete(PODS, "x-deleted", "default", grace_period=0)
    await move.configmap("more", "1")
    await move.pod("z-added", "added", "more")
    await api.delete(PODS, "x-replaced", "default", grace_period=0)
    await move.pod("x-replaced", "replaced")
    for pod in ("x", "y"):
        await api.delete(PODS, f"{pod}-asleep", "default", grace_period=0)
    return {
        "changed": of(("update", "configmap/cm-changed")),
        "deleted": of(("delete", "pod/x-deleted")),
        "added": of(("insert", "pod/z-added"), ("insert", "configmap/more")),
        "replaced": of(("delete", "pod/x-replaced"), ("insert", "pod/x-replaced")),
        "asleep": of(
            ("delete", "pod/x-asleep"),
            ("delete", "pod/y-asleep"),
            ("delete", "configmap/cm-asleep"),
            ("delete", "secret/s-asleep"),
        ),
    }


async def changes_on_the_way_back(move: Move) -> dict[str, Sent]:
    api = move.api
    await api.patch(SECRETS, "s-changed", {"stringData": {"k": "2"}}, "default")
    await api.delete(PODS, "z-added", "default", grace_period=0)
    await move.pod("x-asleep", "asleep")
    return {
        "changed": of(("update", "secret/s-changed")),
        "added": of(("delete", "pod/z-added"), ("delete", "configmap/more")),
        "asleep": of(
            ("insert", "pod/x-asleep"),
            ("insert", "configmap/cm-asleep"),
            ("update", "secret/s-asleep"),  # as KubeEdge's cloud sends every secret
        ),
    }


def as_counts(sent: Sent) -> Counter[str]:
    counts: Counter[str] = Counter()
    for (operation, _), number in sent.items():
        counts[operation] += number
    return counts


async def assert_predicted(move: Move, expected: dict[str, Sent]) -> None:
    for name, change in (await move.predicted()).items():
        sent = as_counts(expected.get(name, Counter()))
        assert change.deletes.total() == sent["delete"], name
        written = change.inserts + change.updates
        assert written.total() == sent["insert"] + sent["update"], name


@pytest.mark.timeout(300)
async def test_a_fleet_moves_and_comes_back(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        cluster = await stack.enter_async_context(running("--set", 'modules.enabled=["apiserver"]'))
        await cluster.wait_ready(30)
        api = await stack.enter_async_context(KubeClient.connect(cluster.settings))
        move = Move(api, str(cluster.settings.data_dir / "kubeconfig"))
        ours, theirs = tmp_path / "first", tmp_path / "second"
        async with serving(move, ours) as first:
            await move.join(stack, first)
            await move.settle()
        for cloud, change in (
            (theirs, first_changes),
            (ours, changes_on_the_way_back),
            (theirs, no_changes),
        ):
            move.forget()
            expected = await change(move)
            await assert_predicted(move, expected)
            async with serving(move, cloud):
                await move.take_over(expected)
                await move.settle()


async def no_changes(_: Move) -> dict[str, Sent]:
    return {}
