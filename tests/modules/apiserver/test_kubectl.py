"""The real kubectl against the server: what people will do."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.modules.apiserver.api import Api
from tests.modules.apiserver.samples import pod
from tests.support.kubectl import Kubectl, program

KINDS = [
    "nodes", "pods", "configmaps", "secrets", "services", "endpoints", "namespaces", "events",
    "devices", "devicemodels", "leases", "persistentvolumes", "persistentvolumeclaims",
    "volumeattachments", "storageclasses", "csidrivers", "csinodes", "serviceaccounts",
    "endpointslices", "customresourcedefinitions",
]  # fmt: skip


def node(name: str = "edge-1") -> dict[str, Any]:
    return {
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": name, "labels": {"node-role.kubernetes.io/edge": ""}},
        "status": {
            "conditions": [{"type": "Ready", "status": "True"}],
            "nodeInfo": {"kubeletVersion": "v1.15.3-kubeedge-v1.1.0"},
        },
    }  # fmt: skip


def device(value: str = "1") -> dict[str, Any]:
    term = {"matchExpressions": [{"key": "", "operator": "In", "values": ["edge-1"]}]}
    return {
        "apiVersion": "devices.kubeedge.io/v1alpha1", "kind": "Device",
        "metadata": {"name": "lamp"},
        "spec": {
            "deviceModelRef": {"name": "lamps"}, "nodeSelector": {"nodeSelectorTerms": [term]},
        },
        "status": {"twins": [{"propertyName": "power", "desired": {"value": value}}]},
    }  # fmt: skip


MODEL = {
    "apiVersion": "devices.kubeedge.io/v1alpha1",
    "kind": "DeviceModel",
    "metadata": {"name": "lamps"},
    "spec": {"properties": []},
}


async def test_get_every_kind(kubectl: Kubectl) -> None:
    for kind in KINDS:
        output = await kubectl("get", kind, "-A", "-o", "wide")
        assert "NAME" in output or "No resources found" in output


async def test_version_and_api_resources(kubectl: Kubectl) -> None:
    assert "WARNING" not in await kubectl("version")
    resources = await kubectl("api-resources")
    for name in KINDS:
        assert f"\n{name} " in resources
    assert "lamps" not in resources
    assert await kubectl("auth", "can-i", "list", "pods") == "yes\n"


async def test_create_with_flags(kubectl: Kubectl) -> None:
    await kubectl("create", "configmap", "c", "--from-literal=a=1", "--from-literal=b=2")
    assert json.loads(await kubectl("get", "cm", "c", "-o", "json"))["data"] == {"a": "1", "b": "2"}
    await kubectl("create", "secret", "generic", "s", "--from-literal=password=hunter2")
    output = await kubectl("describe", "secret", "s")
    assert "password:  7 bytes" in output
    await kubectl("create", "namespace", "team")
    await kubectl("create", "serviceaccount", "bot", "-n", "team")
    await kubectl("create", "service", "nodeport", "web", "--tcp=80:http")
    spec = json.loads(await kubectl("get", "svc", "web", "-o", "json"))["spec"]
    assert spec["ports"] == [
        {"name": "80-http", "port": 80, "protocol": "TCP", "targetPort": "http"}
    ]
    assert spec["selector"] == {"app": "web"}
    output = await kubectl("create", "configmap", "c", expect=1)
    assert 'configmaps "c" already exists' in output


async def test_nodes(kubectl: Kubectl) -> None:
    await kubectl("create", "-f", "-", stdin=node())
    header, row = (await kubectl("get", "nodes")).splitlines()
    assert header.split() == ["NAME", "STATUS", "ROLES", "AGE", "VERSION"]
    assert row.split()[:3] == ["edge-1", "Ready", "edge"]
    assert row.endswith("v1.15.3-kubeedge-v1.1.0")
    assert "v1.15.3-kubeedge-v1.1.0" in await kubectl("describe", "node", "edge-1")
    await kubectl("cordon", "edge-1")
    assert "Ready,SchedulingDisabled" in await kubectl("get", "node", "edge-1")
    await kubectl("taint", "nodes", "edge-1", "a=b:NoSchedule")
    await kubectl("wait", "--for=condition=Ready", "node/edge-1", "--timeout=20s")
    status = '{"status":{"conditions":[{"type":"Ready","status":"False"}]}}'
    await kubectl("patch", "node", "edge-1", "--subresource=status", "-p", status)
    assert "NotReady" in await kubectl("get", "node", "edge-1")
    await kubectl("delete", "node", "edge-1")
    assert "No resources found" in await kubectl("get", "nodes")


async def test_label_annotate_patch(kubectl: Kubectl) -> None:
    await kubectl("create", "configmap", "c", "--from-literal=a=1")
    await kubectl("label", "cm", "c", "tier=front", "size=3")
    await kubectl("label", "cm", "c", "tier=back", expect=1)
    await kubectl("label", "cm", "c", "tier=back", "size-", "--overwrite")
    await kubectl("annotate", "cm", "c", "note=hello")
    await kubectl("patch", "cm", "c", "-p", '{"data":{"b":"2"}}')
    await kubectl("patch", "cm", "c", "--type=json", "-p", '[{"op":"remove","path":"/data/a"}]')
    found = json.loads(await kubectl("get", "cm", "-l", "tier=back", "-o", "json"))["items"][0]
    assert found["data"] == {"b": "2"}
    assert found["metadata"]["labels"] == {"tier": "back"}
    assert found["metadata"]["annotations"] == {"note": "hello"}
    assert "No resources found" in await kubectl("get", "cm", "-l", "tier=front")


async def test_apply_changes_what_was_applied_and_nothing_else(kubectl: Kubectl) -> None:
    obj = pod("web", node="edge-1")
    obj["spec"]["containers"].append({"name": "sidecar", "image": "side:1"})
    assert "created" in await kubectl("apply", "-f", "-", stdin=obj)
    await kubectl("annotate", "pod", "web", "kept=yes")
    obj["spec"]["containers"][1]["image"] = "side:2"
    assert "configured" in await kubectl("apply", "-f", "-", stdin=obj)
    assert "unchanged" in await kubectl("apply", "-f", "-", stdin=obj)
    found = json.loads(await kubectl("get", "pod", "web", "-o", "json"))
    assert [item["image"] for item in found["spec"]["containers"]] == ["nginx:1.25", "side:2"]
    assert found["metadata"]["annotations"]["kept"] == "yes"
    obj["spec"]["containers"].pop()
    output = await kubectl("apply", "-f", "-", stdin=obj, expect=1)
    assert "pod updates may not change fields other than" in output
    output = await kubectl("apply", "--server-side", "-f", "-", stdin=obj, expect=1)
    assert "use client-side apply" in output


async def test_apply_removes_what_is_no_longer_in_the_file(kubectl: Kubectl) -> None:
    configmap: dict[str, Any] = {
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"},
        "data": {"a": "1", "b": "2"},
    }  # fmt: skip
    await kubectl("apply", "-f", "-", stdin=configmap)
    await kubectl("patch", "cm", "c", "-p", '{"data":{"mine":"3"}}')
    configmap["data"] = {"a": "9"}
    await kubectl("apply", "-f", "-", stdin=configmap)
    found = json.loads(await kubectl("get", "cm", "c", "-o", "json"))
    assert found["data"] == {"a": "9", "mine": "3"}
    configmap["data"] = {"z": "1"}
    assert '+  z: "1"' in await kubectl("diff", "-f", "-", stdin=configmap, expect=1)
    await kubectl("replace", "-f", "-", stdin=configmap)
    found = json.loads(await kubectl("get", "cm", "c", "-o", "json"))
    assert found["data"] == {"z": "1"}


@pytest.mark.parametrize("kind", ["configmap", "pod", "device", "devicemodel"])
async def test_edit(kubectl: Kubectl, tmp_path: Path, kind: str) -> None:
    await kubectl("create", "configmap", "lamps", "--from-literal=a=1")
    for obj in (pod("lamps"), {**device(), "metadata": {"name": "lamps"}}, MODEL):
        await kubectl("create", "-f", "-", stdin=obj)
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\nsed -i \'s/^metadata:/&\\n  labels: {edited: "yes"}/\' "$1"\n')
    editor.chmod(0o755)
    assert "edited" in await kubectl("edit", kind, "lamps", editor=str(editor))
    labels = await kubectl("get", kind, "lamps", "-o", "jsonpath={.metadata.labels}")
    assert json.loads(labels) == {"edited": "yes"}


async def test_devices_and_models(kubectl: Kubectl) -> None:
    await kubectl("apply", "-f", "-", stdin=MODEL)
    await kubectl("apply", "-f", "-", stdin=device("1"))
    header, row = (await kubectl("get", "devices.v1alpha1.devices.kubeedge.io")).splitlines()
    assert header.split() == ["NAME", "MODEL", "NODE", "ACCEPTED", "AGE"]
    assert row.split()[:3] == ["lamp", "lamps", "edge-1"]
    patch = json.dumps({"status": device("2")["status"]})
    await kubectl(
        "patch",
        "devices.v1alpha1.devices.kubeedge.io",
        "lamp",
        "--subresource=status",
        "--type=merge",
        "-p",
        patch,
    )
    value = await kubectl(
        "get", "device", "lamp", "-o", "jsonpath={.status.twins[0].desired.value}"
    )
    assert value == "2"
    assert "Device Model Ref" in await kubectl("describe", "device", "lamp")
    assert "lamps" in await kubectl("get", "devicemodels,devices", "-o", "name")
    await kubectl("label", "devicemodel", "lamps", "a=b")
    await kubectl("delete", "device/lamp", "devicemodel/lamps")
    assert "No resources found" in await kubectl("get", "devices.v1alpha1.devices.kubeedge.io")


async def test_pods_are_deleted_in_two_steps(kubectl: Kubectl) -> None:
    await kubectl("create", "-f", "-", stdin=pod("web", node="edge-1"))
    header, row = (await kubectl("get", "pods", "-o", "wide")).splitlines()
    assert header.split()[:6] == ["NAME", "READY", "STATUS", "RESTARTS", "AGE", "IP"]
    assert row.split()[:4] == ["web", "0/1", "Pending", "0"]
    assert "Node:" in await kubectl("describe", "pod", "web")
    await kubectl("delete", "pod", "web", "--wait=false")
    assert "Terminating" in await kubectl("get", "pods")
    await kubectl("delete", "pod", "web", "--force", "--grace-period=0")
    assert "No resources found" in await kubectl("get", "pods")
    await kubectl("run", "once", "--image=nginx")
    await kubectl("delete", "pod", "once")


async def test_delete_namespace_waits_until_it_is_gone(kubectl: Kubectl) -> None:
    await kubectl("create", "namespace", "team")
    await kubectl("create", "configmap", "c", "-n", "team")
    await kubectl("delete", "namespace", "team")
    assert "NotFound" in await kubectl("get", "namespace", "team", expect=1)
    output = await kubectl("create", "configmap", "c", "-n", "team", expect=1)
    assert 'namespaces "team" not found' in output


async def test_create_generates_names_and_deletes_all(kubectl: Kubectl) -> None:
    obj = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "job-"}}
    for _ in range(2):
        assert "configmap/job-" in await kubectl("create", "-f", "-", stdin=obj)
    output = await kubectl("delete", "configmaps", "--all")
    assert output.count("deleted") == 3  # and the one that every namespace has


async def test_pages_of_a_long_list(kubectl: Kubectl, api: Api) -> None:
    for number in range(25):
        await api.create(
            "/api/v1/namespaces/default/configmaps", metadata={"name": f"c{number:02}"}
        )
    output = await kubectl("get", "cm", "--chunk-size=10", "-o", "name")
    ours = [f"configmap/c{number:02}" for number in range(25)]
    assert output.split() == [*ours, "configmap/kube-root-ca.crt"]


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        ("secrets", "/api/v1/namespaces/default/secrets"),
        ("nodes", "/api/v1/nodes"),
        ("devices", "/apis/devices.kubeedge.io/v1alpha1/namespaces/default/devices"),
    ],
)
async def test_get_watch(api: Api, tmp_path: Path, kind: str, path: str) -> None:
    await api.create(path, metadata={"name": "first"})
    process = await asyncio.create_subprocess_exec(
        program(),
        "get", kind, "-w", "--output-watch-events",
        stdout=asyncio.subprocess.PIPE,
        env={
            "PATH": os.environ["PATH"], "HOME": str(tmp_path),
            "KUBECONFIG": str(tmp_path / "data" / "kubeconfig"),
        },
    )  # fmt: skip
    assert process.stdout is not None
    try:
        async with asyncio.timeout(20):
            assert (await process.stdout.readline()).split()[:2] == [b"EVENT", b"NAME"]
            assert (await process.stdout.readline()).split()[:2] == [b"ADDED", b"first"]
            await api.create(path, metadata={"name": "second"})
            assert (await process.stdout.readline()).split()[:2] == [b"ADDED", b"second"]
            await api.patch(f"{path}/second", {"metadata": {"labels": {"a": "b"}}})
            assert (await process.stdout.readline()).split()[:2] == [b"MODIFIED", b"second"]
            await api.call("DELETE", f"{path}/second")
            assert (await process.stdout.readline()).split()[:2] == [b"DELETED", b"second"]
    finally:
        process.kill()
        await process.wait()


async def test_a_crd_of_ones_own(kubectl: Kubectl) -> None:
    version = {
        "name": "v1", "served": True, "storage": True,
        "schema": {
            "openAPIV3Schema": {
                "type": "object", "description": "Boats float.",
                "properties": {"spec": {"type": "object", "description": "Of what kind."}},
            }
        },
    }  # fmt: skip
    names = {"plural": "boats", "kind": "Boat", "singular": "boat"}
    crd = {
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "boats.sea.io"},
        "spec": {"group": "sea.io", "scope": "Namespaced", "names": names, "versions": [version]},
    }  # fmt: skip
    await kubectl("apply", "-f", "-", stdin=crd)
    await kubectl("wait", "--for=condition=Established", "crd/boats.sea.io", "--timeout=20s")
    boat = {"apiVersion": "sea.io/v1", "kind": "Boat", "metadata": {"name": "a"}}
    await kubectl("apply", "-f", "-", stdin=boat)
    assert "boat.sea.io/a" in await kubectl("get", "boats", "-o", "name")
    assert "Boats float." in await kubectl("explain", "boats")
