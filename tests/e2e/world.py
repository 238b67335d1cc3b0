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
    DEVICES,
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
from modules.hollow.references import references
from modules.hollow.timing import Timing
from supervisor.telemetry.crash_reports import CrashReports

#: The edges, old and new, and the version of KubeEdge of each.
FLEET: Final = {"edge-1": "1.1", "edge-2": "1.1", "edge-3": "1.20", "edge-4": "1.23"}
EDGES: Final = tuple(FLEET)
#: Edges that are given devices, services and endpoints.
OLD_EDGES: Final = tuple(name for name, version in FLEET.items() if version == "1.1")
#: Edges whose cloud notices when they lose their database.
NEW_EDGES: Final = tuple(name for name in EDGES if name not in OLD_EDGES)
NAMES: Final = ("a", "b", "c")
VICTIMS: Final = ("apiserver", "cloudhub", "edgecontroller", "devicecontroller")
SETTLE_SECONDS: Final = 60.0

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


class World:
    """What may be done, and whether all edges have what the API says they are to have."""

    def __init__(self, cloudcore: Cloudcore, api: KubeClient, edges: dict[str, HollowEdge]) -> None:
        self.cloudcore = cloudcore
        self.api = api
        self.edges = edges

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

    async def delete(self, kind: str, name: str) -> None:
        resource = KINDS[kind]
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
            os.kill(pid, signal.SIGKILL)

    async def outage(self, seconds: float) -> None:
        """Stop the API server for a while: connections stand, and nobody answers."""
        if pid := await self._pid("apiserver"):
            os.kill(pid, signal.SIGSTOP)
            await asyncio.sleep(seconds)
            os.kill(pid, signal.SIGCONT)

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
            tail = self.cloudcore.log_tail(60)
            raise AssertionError(f"after {SETTLE_SECONDS:g} s: {differences}\n{tail}") from None
        self._check_crashes()

    def _check_crashes(self) -> None:
        """Raise AssertionError if a module ended by anything else than `kill`."""
        reports = CrashReports(self.cloudcore.settings.data_dir / "crashes", keep=0).reports()
        crashes = [
            "\n".join((f"{each.module}: {each.reason}", each.traceback, *each.stderr))
            for each in reports
            if each.signal != "SIGKILL"
        ]
        assert not crashes, "\n\n".join(crashes)

    async def _differences(self) -> Json:
        found: Json = {}
        desired = await self._desired()
        for name, edge in self.edges.items():
            has, wants = _has(edge), desired[name]
            different = {
                key: {"has": has.get(key), "wants": wants.get(key)}
                for key in has.keys() | wants.keys()
                if has.get(key) != wants.get(key)
            }
            if different or not edge.connected:
                found[name] = different or "not connected"
        return found

    async def _desired(self) -> dict[str, Json]:
        """Compute from the API alone what each edge is to have."""
        listed = {kind: await self._list(resource) for kind, resource in KINDS.items()}
        return {edge: self._desired_of(edge, listed) for edge in self.edges}

    def _desired_of(self, edge: str, listed: dict[str, dict[str, Json]]) -> Json:
        wants: Json = {}
        needed: set[str] = set()
        for key, pod in listed["pod"].items():
            if pod["spec"].get("nodeName") == edge:
                wants[key] = _essence(pod)
                needed |= set(references(pod))
        for kind in ("configmap", "secret"):
            wants |= {k: _essence(obj) for k, obj in listed[kind].items() if k in needed}
        if edge in NEW_EDGES:
            return wants
        for kind in ("service", "endpoints"):
            wants |= {key: _essence(obj) for key, obj in listed[kind].items()}
        for device in listed["device"].values():
            name = device["metadata"]["name"]
            terms = device["spec"]["nodeSelector"]["nodeSelectorTerms"]
            if terms[0]["matchExpressions"][0]["values"] == [edge]:
                twins = device.get("status", {}).get("twins", ())
                wants[f"device/{name}"] = {
                    twin["propertyName"]: (twin["desired"]["value"], twin["desired"]["value"])
                    for twin in twins
                }
        return wants

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


KINDS: Final[dict[str, Resource]] = {
    "pod": PODS,
    "configmap": CONFIGMAPS,
    "secret": SECRETS,
    "service": SERVICES,
    "endpoints": ENDPOINTS,
    "device": DEVICES,
}


def _label(value: str) -> Json:
    return {"metadata": {"labels": {"l": value}}}


def _essence(obj: Json) -> Any:
    """Reduce an object to what tells it apart from another of its name or an older state."""
    metadata = obj["metadata"]
    return (
        metadata["uid"],
        metadata.get("labels"),
        obj.get("data"),
        metadata.get("deletionTimestamp"),
    )


def _has(edge: HollowEdge) -> Json:
    has = {
        key: _essence(obj)
        for key, obj in edge.objects.items()
        if key.split("/")[1] in KINDS and key.startswith("default/")
    }
    for name, device in edge.devices.items():
        has[f"device/{name}"] = {
            twin: (
                (values.get("expected") or {}).get("value"),
                (values.get("actual") or {}).get("value"),
            )
            for twin, values in device["twin"].items()
        }
    return has


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
