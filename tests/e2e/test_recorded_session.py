"""The recorded session of a Go edge of v1.1, replayed against a running cloudcore.

What the edge wrote is sent byte for byte and in its order. Where the recorded cloud sent
something, the same is done to the Kubernetes API that was done then, and the message that comes
must be of the same kind and form.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from ipc import Message
from modules.common.kube import CONFIGMAPS, DEVICEMODELS, DEVICES, NODES, PODS, KubeClient
from modules.hollow import manifests, tls
from modules.hollow.demo import observe
from modules.hollow.demo.harness import Cloudcore, running
from tests.e2e.recorded import Line, RecordedEdge, frames, handshake

NODE = "edge-node-1"
LED = "led-light-instance-01"
ECHO = 1
"""Of the recorded `cloud_updated` messages, the first is Go's echo of the edge's own report.

cloudcore.md wants it gone: the cache is updated first, so that the echo sends nothing back.
"""


def recorded_pod(content: str) -> dict[str, Any]:
    """The pod as it was applied then."""
    annotations = json.loads(content)["metadata"]["annotations"]
    applied = json.loads(annotations["kubectl.kubernetes.io/last-applied-configuration"])
    metadata = {"name": "p1", "labels": applied["metadata"]["labels"]}
    return {"metadata": metadata, "spec": applied["spec"]}


class Replay:
    """What was done to the API when the recorded cloud sent each of its messages."""

    def __init__(self, api: KubeClient, first_pod: dict[str, Any]) -> None:
        self.api = api
        self.pod = first_pod
        self._actions: dict[tuple[str, str], list[Callable[[], Awaitable[object]]]] = {
            ("insert", "default/pod/p1"): [self.create_pod],
            ("update", "default/pod/p1"): [self.label_pod, self.delete_pod],
            ("delete", "default/pod/p1"): [self.remove_pod],
            ("update", "membership"): [self.create_device, self.delete_device],
            ("update", f"device/{LED}/twin/cloud_updated"): [self.switch_on],
        }

    async def before(self, line: Line) -> None:
        assert line.kind is not None
        await self._actions[line.kind[2:]].pop(0)()

    def done(self) -> bool:
        return not any(self._actions.values())

    async def create_pod(self) -> None:
        await self.api.create(PODS, self.pod, "default")

    async def label_pod(self) -> None:
        await self.api.patch(PODS, "p1", {"metadata": {"labels": {"x": "y"}}}, "default")

    async def delete_pod(self) -> None:
        await self.api.delete(PODS, "p1", "default")

    async def remove_pod(self) -> None:
        await self.api.delete(PODS, "p1", "default", grace_period=0)

    async def create_device(self) -> None:
        await self.api.create(DEVICEMODELS, manifests.device_model(), "default")
        device = manifests.applied(manifests.device(LED, NODE, "OFF"))
        await self.api.create(DEVICES, device, "default")

    async def switch_on(self) -> None:
        found = await self.api.get(DEVICES, LED, "default")
        twins = found["status"]["twins"]
        assert twins[0]["reported"]["value"] == "ON"  # the edge's report, sent before
        twins[0]["desired"]["value"] = "ON"
        patch = {"status": {"twins": twins}}
        await self.api.patch(DEVICES, LED, patch, "default", subresource="status")

    async def delete_device(self) -> None:
        await self.api.delete(DEVICES, LED, "default")


def essence(content: str | bytes) -> Any:
    """What a message says, less what differs from one run to the next."""
    value = json.loads(content)
    return pod_essence(value) if "spec" in value else without_numbers(value)


def pod_essence(pod: dict[str, Any]) -> dict[str, Any]:
    """What cloudcore is answerable for: defaults in the spec are the API server's."""
    containers = pod["spec"]["containers"]
    return {
        "name": (pod["metadata"]["namespace"], pod["metadata"]["name"]),
        "labels": pod["metadata"]["labels"],
        "going": "deletionTimestamp" in pod["metadata"],
        "identified": bool(pod["metadata"]["uid"] and pod["metadata"]["resourceVersion"]),
        "node": pod["spec"]["nodeName"],
        "containers": [(each["name"], each["image"], each["env"]) for each in containers],
    }


def without_numbers(value: Any) -> Any:
    """Twin messages to the last key and value, but for times, versions and event ids."""
    if isinstance(value, dict):
        return {
            key: "" if key == "event_id" else without_numbers(inner) for key, inner in value.items()
        }
    if isinstance(value, list):
        return [without_numbers(inner) for inner in value]
    return 0 if isinstance(value, int) and not isinstance(value, bool) else value


@pytest.mark.timeout(90)
async def test_a_running_cloudcore_answers_as_the_recorded_cloud() -> None:
    async with running() as cloudcore:
        await cloudcore.wait_ready(30)
        async with KubeClient.connect(cloudcore.settings, user_agent="replay") as api:
            await api.create(NODES, manifests.node(NODE))
            await api.create(CONFIGMAPS, manifests.configmap("cm1", k="v"), "default")
            await replay(cloudcore, api)
        await cloudcore.stop(15)


async def replay(cloudcore: Cloudcore, api: KubeClient) -> None:
    port = int((await cloudcore.websocket_url()).rpartition(":")[2])
    context = tls.issue(cloudcore.settings.data_dir / "pki", NODE)
    lines = frames()
    pod = next(
        line for line in lines if line.kind and line.kind[2:] == ("insert", "default/pod/p1")
    )
    assert pod.message is not None
    actions = Replay(api, recorded_pod(pod.message["content"]))
    echoes = 0
    for connection in (1, 2):
        request, response = handshake(connection)
        edge = await RecordedEdge.connect(port, context, request)
        assert edge.response[0] == response[0]
        accept = next(line for line in response if line.startswith("Sec-WebSocket-Accept"))
        assert accept.lower() in [line.lower() for line in edge.response]
        for line in (line for line in lines if line.connection == connection):
            if line.from_edge:
                edge.send(line.payload)
                if line.kind and line.kind[3].endswith("twin/edge_updated"):
                    await reported(api)
            elif line.kind and line.kind[3].endswith("cloud_updated") and echoes < ECHO:
                echoes += 1
            elif line.kind and line.message:
                if line.kind[2] == "insert":
                    await brought_up_to_date(edge)
                await actions.before(line)
                await same_kind(edge, line)
        assert not edge.closed
        assert not [message for message in edge.received if "cloud_updated" in message.resource]
        await edge.close()
    assert actions.done()


async def brought_up_to_date(edge: RecordedEdge) -> None:
    """Wait for what a node gets when it connects.

    The recorded one had long been connected when the pod was created. An object that comes up
    while a node is being brought up to date is an update, since the node may have it already.
    """
    for last in ("namespace/endpointslist/endpoints", "membership/detail"):
        await edge.wait(about(last), last)


def about(resource: str) -> Callable[[Message], bool]:
    return lambda message: message.resource == resource


async def reported(api: KubeClient) -> None:
    """Wait for the edge's report to be in the API: the next action looks at it."""
    await observe.in_api(
        api,
        DEVICES,
        LED,
        "default",
        lambda led: led["status"]["twins"][0]["reported"]["value"] == "ON",
    )


async def same_kind(edge: RecordedEdge, line: Line) -> None:
    assert line.message is not None
    assert line.kind is not None
    kind, wanted = line.kind, essence(line.message["content"])

    def fits(message: Message) -> bool:
        return (message.source, message.group, message.operation, message.resource) == kind

    message = await edge.wait(fits, " ".join(kind))
    if kind[2:] == ("update", "default/pod/p1") and wanted["going"]:
        # The API server may have more to say of a pod before it goes.
        while not essence(message.content)["going"]:
            message = await edge.wait(fits, " ".join(kind))
    assert not message.sync
    assert essence(message.content) == wanted
