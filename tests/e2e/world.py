"""A running cloudcore, a few hollow edges, and everything that can happen to them."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any, Final

from modules.common.kube import (
    CONFIGMAPS,
    DEVICEMODELS,
    DEVICEMODELS_V1BETA1,
    DEVICES,
    DEVICES_V1BETA1,
    DEVICESTATUSES,
    ENDPOINTS,
    NODES,
    PODS,
    SECRETS,
    SERVICES,
    AlreadyExists,
    Conflict,
    KubeClient,
    NotFound,
    Resource,
    retry,
)
from modules.hollow import manifests, tls
from modules.hollow.demo import observe
from modules.hollow.demo.harness import Cloudcore
from modules.hollow.edge import HollowEdge
from modules.hollow.timing import Timing
from supervisor.telemetry.crash_reports import CrashReports

from . import desired, todays_devices
from .fleet import DELETABLE, FLEET, KINDS, NEW_EDGES, OLD_EDGES

SETTLE_SECONDS: Final = 60.0
#: Seconds between the reports of a device of v1beta1.
REPORT_CYCLE: Final = 0.5

#: An edge dials again after two heartbeats: 30 s for a real one.
QUICK: Final = Timing(
    heartbeat=0.4,
    dial_retry=0.2,
    dial_pause=0.5,
    node_status=1,
    pod_status=0.1,
    lease=1,
    pod_sync=0.5,
    start=0.1,
    query=2,
)

#: cloudcore may lose any module as often as it likes.
OPTIONS: Final = (
    *("--set", "supervisor.max_restarts=1000000"),
    *("--set", "supervisor.backoff_max=0.3"),
)

Json = dict[str, Any]


def send_signal(pid: int, number: signal.Signals) -> None:
    """Signal a module's process, which may have ended a moment ago."""
    with suppress(ProcessLookupError):
        os.kill(pid, number)


class World:
    """What may be done, and whether all edges have what the API says they are to have."""

    def __init__(self, cloudcore: Cloudcore, api: KubeClient, edges: dict[str, HollowEdge]) -> None:
        self.cloudcore = cloudcore
        self.api = api
        self.edges = edges

    @property
    def cloudcores(self) -> list[Cloudcore]:
        """All that run."""
        return [self.cloudcore]

    # What people do

    async def pod(self, name: str, edge: str, needs: str) -> None:
        """Create a pod that needs a configmap and a secret, or change or delete the one there."""
        made = manifests.pod(name, edge, needs)
        made["spec"]["imagePullSecrets"] = [{"name": needs}]
        made["metadata"]["labels"] = {"app": needs}
        await self._put(PODS, made)

    async def configmap(self, name: str, value: str) -> None:
        await self._put(CONFIGMAPS, manifests.configmap(name, k=value), {"data": {"k": value}})

    async def secret(self, name: str, value: str) -> None:
        secret = {"metadata": {"name": name, "namespace": "default"}, "stringData": {"k": value}}
        await self._put(SECRETS, secret, {"stringData": {"k": value}})

    async def service(self, name: str, value: str) -> None:
        metadata = {"name": name, "namespace": "default"}
        spec = {"selector": {"app": name}, "ports": [{"port": 80}]}
        await self._put(SERVICES, {"metadata": metadata, "spec": spec}, _label(value))
        await self._put(ENDPOINTS, {"metadata": metadata, "subsets": []}, _label(value))

    async def device(self, name: str, edge: str, value: str) -> None:
        made = manifests.applied(manifests.device(name, edge, value))
        await self._put(DEVICES, made, made)

    async def todays_device(self, name: str, edge: str, value: str, model: str) -> None:
        """Create a device of v1beta1, or change the one there, which may move to another node."""
        name, model = todays_devices.name_of(name), todays_devices.name_of(model)
        made = manifests.device_v1beta1(name, edge, value, model=model, cycle=REPORT_CYCLE)
        await self._put(DEVICES_V1BETA1, made, {"spec": made["spec"]})

    async def todays_model(self, name: str, value: str) -> None:
        made = manifests.device_model_v1beta1(todays_devices.name_of(name), value)
        await self._put(DEVICEMODELS_V1BETA1, made, {"spec": made["spec"]})

    async def report(self, name: str, edge: str, value: str) -> None:
        """Have a device of v1beta1 report a value, if it is there."""
        device_id = f"default/{todays_devices.name_of(name)}"
        with suppress(KeyError):
            self.edges[edge].twin.report(device_id, {manifests.PROPERTY: value})

    async def delete(self, kind: str, name: str) -> None:
        resource = DELETABLE[kind]
        if kind in todays_devices.KINDS:
            name = todays_devices.name_of(name)
        await self._try(lambda: self.api.delete(resource, name, "default"))

    # What fate does

    async def drop(self, edge: str) -> None:
        """Tear an edge's connection."""
        self.edges[edge].link.drop()

    async def restart(self, edge: str) -> None:
        """Restart an edge, which finds its database as it was."""
        await self.edges[edge].restart()

    async def lose(self, edge: str) -> None:
        """Restart an edge whose database is lost."""
        await self.edges[edge].restart(lose_database=True)

    async def kill(self, module: str) -> None:
        if pid := await self._pid(module):
            send_signal(pid, signal.SIGKILL)

    async def outage(self, seconds: float) -> None:
        """Stop the API server for a while: connections stand, and nobody answers."""
        if pid := await self._pid("apiserver"):
            send_signal(pid, signal.SIGSTOP)
            await asyncio.sleep(seconds)
            send_signal(pid, signal.SIGCONT)

    async def wait(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    # How it is to end

    async def settled(self) -> None:
        """Wait until every edge has what it is to have; AssertionError says what differs."""
        differences: Json = {"cloudcore": "never looked"}
        try:
            async with asyncio.timeout(SETTLE_SECONDS):
                while differences := await self._differences():
                    await asyncio.sleep(0.1)
        except TimeoutError:
            tails = "\n".join(each.log_tail(60) for each in self.cloudcores)
            raise AssertionError(f"after {SETTLE_SECONDS:g} s: {differences}\n{tails}") from None
        for cloudcore in self.cloudcores:
            check_crashes(cloudcore)

    async def _differences(self) -> Json:
        found: Json = {}
        listed = {kind: await self._list(resource) for kind, resource in KINDS.items()}
        todays = await self._todays_devices()
        if in_api := todays_devices.differences_in_api(todays, self._new_edges):
            found["API"] = in_api
        for name, edge in self.edges.items():
            has, wants = desired.present(edge), desired.wanted(listed, name)
            if name in NEW_EDGES:
                has |= todays_devices.present(todays, edge)
                wants |= todays_devices.wanted(todays, name)
            different = {
                key: {"has": has.get(key), "wants": wants.get(key)}
                for key in has.keys() | wants.keys()
                if has.get(key) != wants.get(key)
            }
            if different or not edge.connected:
                found[name] = different or "not connected"
        return found

    @property
    def _new_edges(self) -> dict[str, HollowEdge]:
        return {name: self.edges[name] for name in NEW_EDGES}

    async def _todays_devices(self) -> todays_devices.Listed:
        resources = (*todays_devices.KINDS.values(), DEVICESTATUSES)
        lists = {each: list((await self._list(each)).values()) for each in resources}
        return todays_devices.Listed.of(lists)

    async def _list(self, resource: Resource) -> dict[str, Json]:
        page = await retry(lambda: self.api.list(resource, "default"), self.api.health)
        kind = resource.kind.lower()
        return {f"default/{kind}/{obj['metadata']['name']}": obj for obj in page.items}

    async def _put(self, resource: Resource, obj: Json, change: Json | None = None) -> None:
        """Create, or change what is there."""
        name = obj["metadata"]["name"]
        patch = change or _label(os.urandom(4).hex())

        async def attempt() -> None:
            try:
                await self.api.create(resource, obj, "default")
            except AlreadyExists:
                await self.api.patch(resource, name, patch, "default")

        await self._try(attempt)

    async def _try(self, attempt: Callable[[], Awaitable[object]]) -> None:
        """Do something to the API, which may be away just then."""
        with suppress(NotFound, Conflict):  # it went in between
            await asyncio.wait_for(retry(attempt, self.api.health), 30)

    async def _pid(self, module: str) -> int | None:
        pid: int | None = (await self.cloudcore.module(module))["pid"]
        return pid


def check_crashes(cloudcore: Cloudcore) -> None:
    """Raise AssertionError if a module ended by anything else than `kill`."""
    reports = CrashReports(cloudcore.settings.data_dir / "crashes", keep=0).reports()
    crashes = [
        "\n".join((f"{each.module}: {each.reason}", each.traceback, *each.stderr))
        for each in reports
        if each.signal != "SIGKILL"
    ]
    assert not crashes, "\n\n".join(crashes)


def _label(value: str) -> Json:
    return {"metadata": {"labels": {"l": value}}}


@asynccontextmanager
async def living(cloudcore: Cloudcore) -> AsyncIterator[World]:
    """Join the edges to a cloudcore that is ready."""
    url = await cloudcore.websocket_url()
    async with AsyncExitStack() as stack:
        api = await stack.enter_async_context(
            KubeClient.connect(cloudcore.settings, user_agent="world")
        )
        await api.create(DEVICEMODELS, manifests.device_model(), "default")
        edges = {}
        for name, version in FLEET.items():
            if name in OLD_EDGES:  # the others register themselves
                await api.create(NODES, manifests.node(name))
            context = tls.issue(cloudcore.settings.data_dir / "pki", name)
            edge = HollowEdge(name, url, context, kubeedge=version, timing=QUICK, keep_messages=50)
            edges[name] = await stack.enter_async_context(edge)
        for name in NEW_EDGES:
            await observe.in_api(api, NODES, name, None, lambda node: bool(node["status"]))
        yield World(cloudcore, api, edges)
