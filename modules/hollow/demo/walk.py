"""The steps of `make demo`, which tests take as well."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

from modules.common.kube import (
    CONFIGMAPS,
    DEVICEMODELS,
    DEVICES,
    NODES,
    PODS,
    KubeClient,
)
from modules.hollow import manifests, tls
from modules.hollow.demo import observe
from modules.hollow.demo.harness import Cloudcore
from modules.hollow.demo.observe import STEP, Predicate
from modules.hollow.edge import HollowEdge
from modules.hollow.timing import Timing

NODE: Final = "edge-1"
# Faster than a real edge, to make the demo short.
TIMING: Final = Timing(node_status=1.0, pod_status=0.1)

Step = Callable[[str], None]
"""Called with the text of a step that has succeeded."""


class Walk:
    """The steps, on one cloudcore with one hollow edge and a client of the API."""

    def __init__(self, cloudcore: Cloudcore, edge: HollowEdge, api: KubeClient, seen: Step) -> None:
        self.cloudcore = cloudcore
        self.edge = edge
        self.api = api
        self.seen = seen

    async def take(self) -> None:
        """Take all steps in order; the first one that fails raises."""
        await self.node_becomes_ready()
        await self.pod_runs_with_its_configmap()
        await self.device_follows_its_twin()
        await self.edgecontroller_is_killed_and_nobody_notices()
        await self.pod_is_deleted()

    async def node_becomes_ready(self) -> None:
        await self.edge.wait_connected(STEP)
        self.seen(f"{NODE} is connected")
        await self.api.create(NODES, manifests.node(NODE))
        await observe.in_api(self.api, NODES, NODE, None, _is_ready)
        self.seen(f"node {NODE} is Ready in the API")

    async def pod_runs_with_its_configmap(self) -> None:
        await self.api.create(CONFIGMAPS, manifests.configmap("greeting", hello="world"), "default")
        await self.api.create(PODS, manifests.pod("web", NODE, "greeting"), "default")
        await self.edge.wait_for("default/pod/web", timeout=STEP)
        self.seen("the pod arrived at the edge")
        await self.edge.wait_for("default/configmap/greeting", _says("world"), STEP)
        self.seen("the config map it refers to arrived at the edge")
        await observe.in_api(
            self.api, PODS, "web", "default", lambda pod: pod["status"]["phase"] == "Running"
        )
        self.seen("the pod is Running in the API")

    async def device_follows_its_twin(self) -> None:
        await self.api.create(DEVICEMODELS, manifests.device_model(), "default")
        device = manifests.applied(manifests.device("led-1", NODE, "ON"))
        await self.api.create(DEVICES, device, "default")
        await self.edge.wait_for("device/led-1", _expects("ON"), STEP)
        self.seen("the device arrived at the edge, to be ON")
        await observe.in_api(self.api, DEVICES, "led-1", "default", _reports("ON"))
        self.seen("the device's twin says ON in the API")
        await self.desire("led-1", "OFF")
        await self.edge.wait_for("device/led-1", _expects("OFF"), STEP)
        self.seen("the changed twin arrived at the edge, to be OFF")
        await observe.in_api(self.api, DEVICES, "led-1", "default", _reports("OFF"))
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
        await observe.gone_from_api(self.api, PODS, "web", "default")
        self.seen("the deleted pod is gone from the API")

    async def desire(self, device: str, value: str) -> None:
        """Change the desired value of a device's only twin property.

        As `kubectl edit --subresource=status` would.
        """
        found = await self.api.get(DEVICES, device, "default")
        found["status"]["twins"][0]["desired"]["value"] = value
        patch = {"status": {"twins": found["status"]["twins"]}}
        await self.api.patch(DEVICES, device, patch, "default", subresource="status")


@asynccontextmanager
async def walking(cloudcore: Cloudcore, seen: Step) -> AsyncIterator[Walk]:
    """Wait until cloudcore is ready, connect an edge, and connect to the API."""
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
