"""The steps of `make demo`, which tests take as well."""

from __future__ import annotations

import os
import signal
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final

from modules.common.kube import (
    CONFIGMAPS,
    DEVICEMODELS,
    DEVICEMODELS_V1BETA1,
    DEVICES,
    DEVICES_V1BETA1,
    DEVICESTATUSES,
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
from modules.hollow.v1_23.join import CertManager

OLD: Final = "edge-old"
NEW: Final = "edge-new"
VERSIONS: Final = {OLD: "1.1", NEW: "1.23"}
#: The model of the device of v1beta1; objects of both versions share their names.
_MODEL: Final = "led-light-today"
# Faster than a real edge, to make the demo short.
TIMING: Final = Timing(
    heartbeat=2, node_status=1, pod_status=0.1, lease=1, pod_sync=1, start=0.2, query=5
)

Step = Callable[[str], None]
"""Called with the text of a step that has succeeded."""


class Walk:
    """The steps, on one cloudcore with an edge of each generation and a client of the API."""

    def __init__(
        self, cloudcore: Cloudcore, edges: dict[str, HollowEdge], api: KubeClient, seen: Step
    ) -> None:
        self.cloudcore = cloudcore
        self.edges = edges
        self.api = api
        self.seen = seen

    @property
    def old(self) -> HollowEdge:
        return self.edges[OLD]

    @property
    def new(self) -> HollowEdge:
        return self.edges[NEW]

    async def take(self) -> None:
        """Take all steps in order; the first one that fails raises."""
        await self.nodes_become_ready()
        await self.pods_run_with_their_configmap()
        await self.device_follows_its_twin()
        await self.device_of_today_does_what_is_desired()
        await self.edgecontroller_is_killed_and_nobody_notices()
        await self.an_edge_loses_its_database()
        await self.pods_are_deleted()

    async def nodes_become_ready(self) -> None:
        for name, edge in self.edges.items():
            await edge.wait_connected(STEP)
            self.seen(f"{name} (KubeEdge {VERSIONS[name]}) is connected")
        await self.api.create(NODES, manifests.node(OLD))
        await observe.in_api(self.api, NODES, OLD, None, _is_ready)
        self.seen(f"node {OLD}, which we created, is Ready in the API")
        await observe.in_api(self.api, NODES, NEW, None, _is_ready)
        self.seen(f"node {NEW}, which registered itself, is Ready in the API")

    async def pods_run_with_their_configmap(self) -> None:
        await self.api.create(CONFIGMAPS, manifests.configmap("greeting", hello="world"), "default")
        for name in self.edges:
            await self.api.create(PODS, manifests.pod(_pod(name), name, "greeting"), "default")
        for name, edge in self.edges.items():
            await edge.wait_for(f"default/pod/{_pod(name)}", timeout=STEP)
            await edge.wait_for("default/configmap/greeting", _says("world"), STEP)
            self.seen(f"a pod and the config map it refers to arrived at {name}")
        for name in self.edges:
            await observe.in_api(self.api, PODS, _pod(name), "default", _is_running)
            self.seen(f"the pod at {name} is Running in the API")

    async def device_follows_its_twin(self) -> None:
        edge = self.old
        await self.api.create(DEVICEMODELS, manifests.device_model(), "default")
        device = manifests.applied(manifests.device("led-1", OLD, "ON"))
        await self.api.create(DEVICES, device, "default")
        await edge.wait_for("device/led-1", _expects("ON"), STEP)
        self.seen(f"a device arrived at {OLD}, to be ON")
        await observe.in_api(self.api, DEVICES, "led-1", "default", _reports("ON"))
        self.seen("the device's twin says ON in the API")
        await self.desire("led-1", "OFF")
        await edge.wait_for("device/led-1", _expects("OFF"), STEP)
        self.seen(f"the changed twin arrived at {OLD}, to be OFF")
        await observe.in_api(self.api, DEVICES, "led-1", "default", _reports("OFF"))
        self.seen("the device's twin says OFF in the API")

    async def device_of_today_does_what_is_desired(self) -> None:
        edge = self.new
        await self.api.create(
            DEVICEMODELS_V1BETA1, manifests.device_model_v1beta1(_MODEL), "default"
        )
        device = manifests.device_v1beta1("led-2", NEW, "ON", model=_MODEL)
        await self.api.create(DEVICES_V1BETA1, device, "default")
        await edge.wait_for("device/default/led-2", timeout=STEP)
        await edge.wait_for("default/device/led-2", _desires("ON"), STEP)
        self.seen(f"a device of v1beta1 and its model arrived at {NEW}, to be ON")
        await observe.in_api(self.api, DEVICESTATUSES, "led-2", "default", _reports("ON"))
        self.seen("its DeviceStatus says ON in the API")
        changed = {"spec": {"properties": _with_desired(device, "OFF")}}
        await self.api.patch(DEVICES_V1BETA1, "led-2", changed, "default")
        await edge.wait_for("default/device/led-2", _desires("OFF"), STEP)
        self.seen(f"the changed device arrived at {NEW}, to be OFF")
        await observe.in_api(self.api, DEVICESTATUSES, "led-2", "default", _reports("OFF"))
        await observe.in_api(self.api, DEVICESTATUSES, "led-2", "default", _is_online)
        self.seen("its DeviceStatus says OFF, and that it is online")

    async def edgecontroller_is_killed_and_nobody_notices(self) -> None:
        before = _pids(await self.cloudcore.status())
        os.kill(before["edgecontroller"], signal.SIGKILL)
        self.seen(f"edgecontroller (pid {before['edgecontroller']}) was killed with SIGKILL")
        await self.api.patch(CONFIGMAPS, "greeting", {"data": {"hello": "again"}}, "default")
        for edge in self.edges.values():
            await edge.wait_for("default/configmap/greeting", _says("again"), STEP)
        self.seen("the next change of the config map arrived at both edges all the same")
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
        for name, edge in self.edges.items():
            if not edge.connected or edge.link.connects != 1:
                raise self.cloudcore.error(f"lost the connection of {name}")
        self.seen("the edges kept their connections, the other modules their processes")

    async def an_edge_loses_its_database(self) -> None:
        edge = self.new
        await edge.restart(lose_database=True)
        self.seen(f"{NEW} was restarted, and has lost its database")
        await edge.wait_for(f"default/pod/{_pod(NEW)}", timeout=STEP)
        await edge.wait_for("default/configmap/greeting", _says("again"), STEP)
        self.seen(f"{NEW} has its pod and its config map again")

    async def pods_are_deleted(self) -> None:
        for name in self.edges:
            await self.api.delete(PODS, _pod(name), "default")
        for name, edge in self.edges.items():
            await edge.wait_gone(f"default/pod/{_pod(name)}", STEP)
            await observe.gone_from_api(self.api, PODS, _pod(name), "default")
            self.seen(f"the deleted pod is gone from {name} and from the API")

    async def desire(self, device: str, value: str) -> None:
        """Change the desired value of a device's only twin property.

        As `kubectl edit --subresource=status` would.
        """
        found = await self.api.get(DEVICES, device, "default")
        found["status"]["twins"][0]["desired"]["value"] = value
        patch = {"status": {"twins": found["status"]["twins"]}}
        await self.api.patch(DEVICES, device, patch, "default", subresource="status")


@asynccontextmanager
async def walking(
    cloudcore: Cloudcore, seen: Step = lambda _: None, timing: Timing = TIMING
) -> AsyncIterator[Walk]:
    """Wait until cloudcore is ready, connect the edges, and connect to the API."""
    status = await cloudcore.wait_ready(30)
    ready = [module["name"] for module in status["modules"] if module["state"] == "ready"]
    seen(f"cloudcore is running: {', '.join(ready)}")
    url = await cloudcore.websocket_url()
    async with AsyncExitStack() as stack:
        api = await stack.enter_async_context(
            KubeClient.connect(cloudcore.settings, user_agent="demo")
        )
        edges = {}
        for name, version in VERSIONS.items():
            certificate = await _certificate(cloudcore, name, seen)
            edge = HollowEdge(name, url, certificate, kubeedge=version, timing=timing)
            edges[name] = await stack.enter_async_context(edge)
        yield Walk(cloudcore, edges, api, seen)


async def _certificate(cloudcore: Cloudcore, name: str, seen: Step) -> ssl.SSLContext | CertManager:
    """Return the certificate of an edge: the new one joins, the old one is given its own."""
    if name == OLD:
        return tls.issue(cloudcore.settings.data_dir / "pki", name)
    manager = await CertManager.join(name, await cloudcore.https_url(), await cloudcore.token())
    seen(f"{name} has got a certificate with a token, as `keadm join` does")
    return manager


def _pod(node: str) -> str:
    return f"web-{node.removeprefix('edge-')}"


def _pids(status: dict[str, Any]) -> dict[str, int]:
    return {module["name"]: module["pid"] for module in status["modules"] if module["pid"]}


def _is_ready(node: Any) -> bool:
    conditions = node["status"]["conditions"]
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def _is_running(pod: Any) -> bool:
    return bool(pod["status"]["phase"] == "Running")


def _says(value: str) -> Predicate:
    return lambda configmap: bool(configmap["data"].get("hello") == value)


def _expects(value: str) -> Predicate:
    return lambda device: bool(
        device["twin"].get(manifests.PROPERTY, {}).get("expected", {}).get("value") == value
    )


def _desires(value: str) -> Predicate:
    return lambda device: bool(device["spec"]["properties"][0]["desired"]["value"] == value)


def _with_desired(device: dict[str, Any], value: str) -> list[dict[str, Any]]:
    """Return the properties of a device, the first one with another desired value."""
    first, *others = device["spec"]["properties"]
    return [first | {"desired": {"value": value}}, *others]


def _is_online(status: Any) -> bool:
    return bool(status["status"]["state"] == "online")


def _reports(value: str) -> Predicate:
    return lambda device: bool(device["status"]["twins"][0]["reported"]["value"] == value)
