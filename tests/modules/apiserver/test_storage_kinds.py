"""The kinds of storage.k8s.io: defaults, checks and columns as kube-apiserver has them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.modules.apiserver.api import Api
from tests.support.kubectl import Kubectl

BASE = "/apis/storage.k8s.io/v1"
CLASSES, DRIVERS = f"{BASE}/storageclasses", f"{BASE}/csidrivers"
NODES, ATTACHMENTS = f"{BASE}/csinodes", f"{BASE}/volumeattachments"

CLASS = {"metadata": {"name": "edge"}, "provisioner": "csi-hostpath", "parameters": {"k": "v"}}
DRIVER = {"metadata": {"name": "csi-hostpath"}, "spec": {"tokenRequests": [{"audience": "a"}]}}
NODE = {
    "metadata": {"name": "edge-1"},
    "spec": {"drivers": [{"name": "csi-hostpath", "nodeID": "edge-1"}]},
}
ATTACHMENT = {
    "metadata": {"name": "csi-1"},
    "spec": {
        "attacher": "csi-hostpath",
        "nodeName": "edge-1",
        "source": {"persistentVolumeName": "pv1"},
    },
}


async def refused(api: Api, method: str, path: str, body: Any) -> list[tuple[str, str]]:
    """Return reason and field of each cause of the 422."""
    answer = await api.call(method, path, body, expect=422)
    return [(cause["reason"], cause["field"]) for cause in answer["details"]["causes"]]


async def test_defaults(api: Api) -> None:
    made = await api.create(CLASSES, **CLASS)
    assert made["reclaimPolicy"] == "Delete"
    assert made["volumeBindingMode"] == "Immediate"
    driver = await api.create(DRIVERS, **DRIVER)
    assert driver["spec"] == {
        "attachRequired": True,
        "fsGroupPolicy": "ReadWriteOnceWithFSType",
        "podInfoOnMount": False,
        "requiresRepublish": False,
        "seLinuxMount": False,
        "storageCapacity": False,
        "tokenRequests": [{"audience": "a"}],
        "volumeLifecycleModes": ["Persistent"],
    }
    assert (await api.create(NODES, **NODE))["spec"] == NODE["spec"]
    attachment = await api.create(ATTACHMENTS, **ATTACHMENT)
    assert attachment["status"] == {"attached": False}
    assert (attachment["apiVersion"], attachment["kind"]) == (
        "storage.k8s.io/v1",
        "VolumeAttachment",
    )


@pytest.mark.parametrize(
    ("path", "obj", "causes"),
    [
        (CLASSES, {}, [("FieldValueRequired", "provisioner")]),
        (
            CLASSES,
            {"provisioner": "p", "reclaimPolicy": "Recycle", "volumeBindingMode": "Later"},
            [
                ("FieldValueNotSupported", "reclaimPolicy"),
                ("FieldValueNotSupported", "volumeBindingMode"),
            ],
        ),
        (DRIVERS, {}, [("FieldValueRequired", "spec")]),
        (
            NODES,
            {"spec": {"drivers": [{"name": "d"}, {"nodeID": "n"}]}},
            [
                ("FieldValueRequired", "spec.drivers[0].nodeID"),
                ("FieldValueRequired", "spec.drivers[1].name"),
            ],
        ),
        (NODES, {"spec": {"drivers": {}}}, [("FieldValueInvalid", "spec.drivers")]),
        (
            ATTACHMENTS,
            {"spec": {}},
            [("FieldValueRequired", "spec.attacher"), ("FieldValueRequired", "spec.nodeName")],
        ),
    ],
)
async def test_what_is_refused(
    api: Api, path: str, obj: dict[str, Any], causes: list[tuple[str, str]]
) -> None:
    assert await refused(api, "POST", path, {"metadata": {"name": "x"}, **obj}) == causes


@pytest.mark.parametrize(
    ("path", "made", "change", "causes"),
    [
        (
            CLASSES,
            CLASS,
            {"provisioner": "x", "parameters": {}, "volumeBindingMode": "WaitForFirstConsumer"},
            [
                ("FieldValueForbidden", "parameters"),
                ("FieldValueForbidden", "provisioner"),
                ("FieldValueInvalid", "volumeBindingMode"),
            ],
        ),
        (
            DRIVERS,
            DRIVER,
            {"spec": {"attachRequired": False}},
            [("FieldValueInvalid", "spec.attachRequired")],
        ),
        (
            ATTACHMENTS,
            ATTACHMENT,
            {"spec": {"nodeName": "edge-2"}},
            [("FieldValueInvalid", "spec")],
        ),
    ],
)
async def test_what_may_not_change(
    api: Api, path: str, made: Any, change: Any, causes: list[tuple[str, str]]
) -> None:
    await api.create(path, **made)
    one = f"{path}/{made['metadata']['name']}"
    changed = (await api.call("GET", one)) | change
    if "spec" in change:
        changed["spec"] = made["spec"] | change["spec"]
    assert await refused(api, "PUT", one, changed) == causes
    await api.patch(one, {"metadata": {"labels": {"a": "b"}}})


async def test_an_attachers_status_and_a_nodes_further_driver(api: Api) -> None:
    await api.create(ATTACHMENTS, **ATTACHMENT)
    done = {"status": {"attached": True}}
    await api.patch(f"{ATTACHMENTS}/csi-1/status", done)
    assert (await api.call("GET", f"{ATTACHMENTS}/csi-1"))["status"] == {"attached": True}
    await api.create(NODES, **NODE)
    more = {"spec": {"drivers": [{"name": "other", "nodeID": "n"}]}}
    node = await api.patch(f"{NODES}/edge-1", more, kind="strategic-merge-patch")
    assert {driver["name"] for driver in node["spec"]["drivers"]} == {"csi-hostpath", "other"}


async def test_kubectl_shows_them(api: Api, kubectl: Kubectl) -> None:
    annotations = {"storageclass.kubernetes.io/is-default-class": "true"}
    await api.create(CLASSES, **CLASS | {"metadata": {"name": "edge", "annotations": annotations}})
    await api.create(DRIVERS, **DRIVER)
    await api.create(NODES, **NODE)
    rows = {}
    for kind in ("sc", "csidrivers", "csinodes"):
        output = await kubectl("get", kind, "--no-headers")
        rows[kind] = output.split()[:-1]  # without the age
    assert rows == {
        "sc": ["edge", "(default)", "csi-hostpath", "Delete", "Immediate", "false"],
        "csidrivers": ["csi-hostpath", "true", "false", "false", "a", "false", "Persistent"],
        "csinodes": ["edge-1", "1"],
    }
