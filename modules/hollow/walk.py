"""The walk through cloudcore that `make demo` shows, step by step; tests take the same one."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any, Final

from modules.common.kube import (
    CONFIGMAPS,
    DEVICEMODELS,
    DEVICES,
    NODES,
    PODS,
    KubeClient,
    Resource,
)
from modules.hollow import manifests, tls
from modules.hollow.edge import HollowEdge
from modules.hollow.running import Cloudcore
from modules.hollow.timing import Timing

NODE: Final = "edge-1"
STEP: Final = 15.0  # seconds that one step may take
# Faster than a real edge, so that nobody has to wait for a report.
TIMING: Final = Timing(node_status=1.0, pod_status=0.1)

Predicate = Callable[[Any], bool]
Step = Callable[[str], None]
"""Called with what has just been seen."""


class Walk:
    """One cloudcore, one hollow edge and a client of the API, and what is done with them."""

    def __init__(self, cloudcore: Cloudcore, edge: HollowEdge, api: KubeClient, seen: Step) -> None:
        self.cloudcore = cloudcore
        self.edge = edge
        self.api = api
        self.seen = seen

    async def take(self) -> None:
        """All steps in order; the first one that is not seen raises."""
        await self.node_becomes_ready()
        await self.pod_runs_with_its_configmap()
        await self.device_follows_its_twin()
        await self.edgecontroller_is_killed_and_nobody_notices()
        await self.pod_is_deleted()

    async def node_becomes_ready(self) -> None:
        await self.edge.wait_connected(STEP)
        self.seen(f"{NODE} is connected")
        await self.api.create(NODES, manifests.node(NODE))
        await self.in_api(NODES, NODE, None, _is_ready)
        self.seen(f"node {NODE} is Ready in the API")

    async def pod_runs_with_its_configmap(self) -> None:
        await self.api.create(CONFIGMAPS, manifests.configmap("greeting", hello="world"), "default")
        await self.api.create(PODS, manifests.pod("web", NODE, "greeting"), "default")
        await self.edge.wait_for("default/pod/web", timeout=STEP)
        self.seen("the pod arrived at the edge")
        await self.edge.wait_for("default/configmap/greeting", _says("world"), STEP)
        self.seen("the config map it refers to arrived at the edge")
        await self.in_api(PODS, "web", "default", lambda pod: pod["status"]["phase"] == "Running")
        self.seen("the pod is Running in the API")

    async def device_follows_its_twin(self) -> None:
        await self.api.create(DEVICEMODELS, manifests.device_model(), "default")
        await self.api.create(DEVICES, manifests.device("led-1", NODE, "ON"), "default")
        await self.edge.wait_for("device/led-1", _expects("ON"), STEP)
        self.seen("the device arrived at the edge, to be ON")
        await self.in_api(DEVICES, "led-1", "default", _reports("ON"))
        self.seen("the device's twin says ON in the API")
        await self.desire("led-1", "OFF")
        await self.edge.wait_for("device/led-1", _expects("OFF"), STEP)
        self.seen("the changed twin arrived at the edge, to be OFF")
        await self.in_api(DEVICES, "led-1", "default", _reports("OFF"))
        self.seen("the device's twin says OFF in the API")

    async def edgecontroller_is_killed_and_nobody_notices(self) -> None:
        before = _pids(await self.cloudcore.status())
        os.kill(before["edgecontroller"], signal.SIGKILL)
        self.seen(f"edgecontroller (pid {before['edgecontroller']}) was killed with SIGKILL")
        await self.api.patch(CONFIGMAPS, "greeting", {"data": {"hello": "again"}}, "default")
        await self.edge.wait_for("default/configmap/greeting", _says("again"), STEP)
        self.seen("the next change of the config map arrived at the edge all the same")
        module = await self.cloudcore.wait_restarted(
            "edgecontroller", before["edgecontroller"], STEP
        )
        self.seen(f"edgecontroller is back (pid {module['pid']})")
        after = _pids(await self.cloudcore.status())
        moved = [
            name for name in before if name != "edgecontroller" and before[name] != after[name]
        ]
        if moved:
            raise self.cloudcore.error(f"restarted {moved} too")
        if not self.edge.connected or self.edge.link.connects != 1:
            raise self.cloudcore.error("lost the edge's connection")
        self.seen("the edge kept its connection, the other modules their processes")

    async def pod_is_deleted(self) -> None:
        await self.api.delete(PODS, "web", "default")
        await self.edge.wait_gone("default/pod/web", STEP)
        self.seen("the deleted pod is gone from the edge")
        await self.gone_from_api(PODS, "web", "default")
        self.seen("the deleted pod is gone from the API")

    async def desire(self, device: str, value: str) -> None:
        """Change what a device's only twin property is to be, as `kubectl edit` would."""
        found = await self.api.get(DEVICES, device, "default")
        found["status"]["twins"][0]["desired"]["value"] = value
        patch = {"status": {"twins": found["status"]["twins"]}}
        await self.api.patch(DEVICES, device, patch, "default")

    async def in_api(
        self, resource: Resource, name: str, namespace: str | None, predicate: Predicate
    ) -> None:
        """Wait until the object in the API is as wanted; TimeoutError says how it was."""
        found: Any = None
        try:
            async with (
                asyncio.timeout(STEP),
                aclosing(self._versions(resource, name, namespace)) as versions,
            ):
                async for found in versions:
                    if found is not None and _holds(predicate, found):
                        return
        except TimeoutError:
            raise TimeoutError(
                f"{resource.describe(namespace, name)} did not become as wanted in the API within "
                f"{STEP:g} s; its status is {(found or {}).get('status')}"
            ) from None

    async def gone_from_api(self, resource: Resource, name: str, namespace: str | None) -> None:
        try:
            async with (
                asyncio.timeout(STEP),
                aclosing(self._versions(resource, name, namespace)) as versions,
            ):
                async for found in versions:
                    if found is None:
                        return
        except TimeoutError:
            raise TimeoutError(
                f"{resource.describe(namespace, name)} is still in the API after {STEP:g} s"
            ) from None

    async def _versions(
        self, resource: Resource, name: str, namespace: str | None
    ) -> AsyncGenerator[Any]:
        """The object as it is and then as it becomes, without end; None while there is none."""
        selector = f"metadata.name={name}"
        while True:
            page = await self.api.list(resource, namespace, field_selector=selector)
            yield page.items[0] if page.items else None
            watch = self.api.watch(
                resource,
                namespace,
                resource_version=page.resource_version,
                field_selector=selector,
            )
            async with aclosing(watch) as events:
                async for event in events:
                    if event.type != "BOOKMARK":
                        yield None if event.type == "DELETED" else event.object


@asynccontextmanager
async def walking(cloudcore: Cloudcore, seen: Step) -> AsyncIterator[Walk]:
    """Wait for cloudcore, join an edge and connect to the API."""
    status = await cloudcore.wait_ready(30)
    ready = [module["name"] for module in status["modules"] if module["state"] == "ready"]
    seen(f"cloudcore is running: {', '.join(ready)}")
    context = tls.issue(cloudcore.settings.data_dir / "pki", NODE)
    url = await cloudcore.websocket_url()
    async with (
        KubeClient.connect(cloudcore.settings, user_agent="demo") as api,
        HollowEdge(NODE, url, context, timing=TIMING) as edge,
    ):
        yield Walk(cloudcore, edge, api, seen)


def _pids(status: dict[str, Any]) -> dict[str, int]:
    return {module["name"]: module["pid"] for module in status["modules"] if module["pid"]}


def _holds(predicate: Predicate, found: Any) -> bool:
    try:
        return predicate(found)
    except (KeyError, IndexError, TypeError):  # what it looks at is not there yet
        return False


def _is_ready(node: Any) -> bool:
    conditions = node["status"]["conditions"]
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def _says(value: str) -> Predicate:
    return lambda configmap: bool(configmap["data"].get("hello") == value)


def _expects(value: str) -> Predicate:
    return lambda device: bool(
        device["twin"].get(manifests.PROPERTY, {}).get("expected", {}).get("value") == value
    )


def _reports(value: str) -> Predicate:
    return lambda device: bool(device["status"]["twins"][0]["reported"]["value"] == value)
