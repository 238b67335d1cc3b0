"""Volumes of CSI drivers on edges of both generations, with CloudHub in two processes."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from modules.common.kube import (
    NODES,
    PERSISTENTVOLUMECLAIMS,
    PERSISTENTVOLUMES,
    PODS,
    VOLUMEATTACHMENTS,
    KubeClient,
    Resource,
)
from modules.hollow import manifests
from modules.hollow.demo import observe
from modules.hollow.demo.harness import Cloudcore, running
from modules.hollow.demo.walk import NEW, OLD, Walk, walking
from modules.hollow.edge import HollowEdge
from modules.hollow.timing import Timing
from modules.hollow.v1_23.volumes import attachment_name
from tests.e2e.test_joining import FLEET, connected, holders, ports, token
from tests.modules.cloudhub.driver import ask, asked, encoded, exchange, request
from tests.modules.cloudhub.edge import Edge
from tests.modules.cloudhub.joiner import Joiner
from tests.support.waiting import eventually

DRIVER = "csi-hostpath"
PROCESSES = ("cloudhub-2", "cloudhub")
QUICK = Timing(
    heartbeat=1, node_status=0.5, pod_status=0.1, lease=1, pod_sync=0.5, start=0.1, mount=0.2
)


def options(socket: Path) -> tuple[str, ...]:
    return (
        *("--set", "modules.cloudhub.processes=2"),
        *("--set", f"modules.cloudhub.uds_address=unix://{socket}"),
    )


async def bind(api: KubeClient, handle: str) -> None:
    """Do what the provisioner and the binder of a cluster do, and create the pod."""
    modes, storage = ["ReadWriteOnce"], {"storage": "1Gi"}
    volume = {
        "metadata": {"name": "pv1"},
        "spec": {
            "accessModes": modes,
            "capacity": storage,
            "claimRef": {"namespace": "default", "name": "data"},
            "csi": {"driver": DRIVER, "volumeHandle": handle},
        },
    }
    claim = {
        "metadata": {"name": "data"},
        "spec": {"accessModes": modes, "resources": {"requests": storage}, "volumeName": "pv1"},
    }
    await api.create(PERSISTENTVOLUMES, volume)
    await api.create(PERSISTENTVOLUMECLAIMS, claim, "default")
    pod = manifests.plain_pod("writer", NEW)
    pod["spec"]["volumes"] = [{"name": "d", "persistentVolumeClaim": {"claimName": "data"}}]
    await api.create(PODS, pod, "default")


async def attach(api: KubeClient, handle: str) -> str:
    """Do what the attach-detach controller and the attacher do; return the attachment's name."""
    volume = f"kubernetes.io/csi/{DRIVER}^{handle}"
    await observe.in_api(
        api, NODES, NEW, None, lambda node: node["status"].get("volumesInUse") == [volume]
    )
    name = attachment_name(handle, DRIVER, NEW)
    attachment = {
        "metadata": {"name": name},
        "spec": {"attacher": DRIVER, "nodeName": NEW, "source": {"persistentVolumeName": "pv1"}},
    }
    await api.create(VOLUMEATTACHMENTS, attachment)
    attached: Any = {"status": {"volumesAttached": [{"name": volume, "devicePath": ""}]}}
    await api.patch(NODES, NEW, attached, subresource="status")
    pod = await api.get(PODS, "writer", "default")
    assert pod["status"]["phase"] == "Pending"
    done = {"status": {"attached": True}}
    await api.patch(VOLUMEATTACHMENTS, name, done, subresource="status")
    return name


async def edge_has(edge: HollowEdge, api: KubeClient, resource: Resource, key: str) -> None:
    """Assert that an edge has an object as the API has it, and was told of its version."""
    namespace, _, name = key.split("/")
    wanted = await api.get(resource, name, namespace if resource.namespaced else None)
    wanted["metadata"].pop("managedFields", None)
    assert edge.objects[key] == wanted
    last = [message for message in edge.received if message.resource == key][-1]
    assert (last.source, last.group, last.operation) == ("edgecontroller", "resource", "response")
    assert last.resource_version == wanted["metadata"]["resourceVersion"]


async def volumes_are_made_and_mounted(walk: Walk, socket: Path) -> None:
    handles = {}
    for node, edge in walk.edges.items():
        made = await asked(socket, request(node))
        handles[node] = made["volume"]["volume_id"]
        assert edge.volumes == {handles[node]: {"name": "pvc-1"}}
        assert made["volume"]["capacity_bytes"] == 1073741824
    await bind(walk.api, handles[NEW])
    name = await attach(walk.api, handles[NEW])
    await observe.in_api(
        walk.api, PODS, "writer", "default", lambda pod: pod["status"]["phase"] == "Running"
    )
    await edge_has(walk.new, walk.api, VOLUMEATTACHMENTS, f"default/volumeattachment/{name}")
    await edge_has(walk.new, walk.api, PERSISTENTVOLUMES, "null/persistentvolume/pv1")
    await edge_has(walk.new, walk.api, PERSISTENTVOLUMECLAIMS, "default/persistentvolumeclaim/data")
    await walk.api.delete(PODS, "writer", "default")
    await observe.in_api(
        walk.api, NODES, NEW, None, lambda node: "volumesInUse" not in node["status"]
    )
    for node, edge in walk.edges.items():
        about = json.dumps({"volumeId": handles[node]})
        assert await asked(socket, request(node, "deletevolume", handles[node], about)) == {}
        assert edge.volumes == {}


@pytest.mark.timeout(180)
async def test_a_pod_gets_a_volume_that_was_made_on_its_edge(tmp_path: Path) -> None:
    socket = tmp_path / "k.sock"
    async with running(*options(socket)) as cloudcore:
        async with walking(cloudcore, timing=QUICK) as walk:
            await walk.nodes_become_ready()
            assert set(walk.edges) == {OLD, NEW}
            await volumes_are_made_and_mounted(walk, socket)
        await cloudcore.stop(15)


async def kill(cloudcore: Cloudcore, process: str) -> int:
    pid: int = (await cloudcore.module(process))["pid"]
    os.kill(pid, signal.SIGKILL)
    return pid


@pytest.mark.timeout(180)
async def test_requests_in_flight_end_when_a_process_is_killed(tmp_path: Path) -> None:
    """Those at the killed process, with an error; if it has the socket, all, with the connection.

    These edges never answer.
    """
    socket = tmp_path / "k.sock"
    async with running(*options(socket)) as cloudcore, AsyncExitStack() as stack:
        await cloudcore.wait_ready(60)
        port = await ports(cloudcore)
        text = await token(cloudcore, "create")
        edges: dict[str, Edge] = {}

        async def join(node: str) -> None:
            joiner = Joiner(port["https"], text)
            await joiner.join(node)
            edges[node] = await connected(port["websocket"], joiner, node)
            stack.push_async_callback(edges[node].leave)

        await asyncio.gather(*map(join, FLEET))
        held = await eventually(
            lambda: holders(cloudcore), lambda found: found.keys() == set(FLEET)
        )
        at = {process: node for node, process in held.items()}
        lost, stays = (asyncio.create_task(ask(socket, request(at[each]))) for each in PROCESSES)
        for each in PROCESSES:
            while (await edges[at[each]].receive()).operation != "createvolume":
                pass
        pid = await kill(cloudcore, "cloudhub-2")
        answer = await lost
        assert answer["route"]["operation"] == "error"
        assert f"node {at['cloudhub-2']} was disconnected" in answer["content"]
        assert not stays.done()
        await cloudcore.wait_restarted("cloudhub-2", pid, 60)
        pid = await kill(cloudcore, "cloudhub")
        with pytest.raises((ConnectionError, json.JSONDecodeError)):
            await stays
        await cloudcore.wait_restarted("cloudhub", pid, 60)
        unread = await exchange(socket, encoded(request("edge-99")))
        assert b"node edge-99 is not connected" in unread
