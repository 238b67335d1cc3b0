"""What an edge of today sends and how its answers are read, for the tests of its calls."""

from __future__ import annotations

from typing import Any

import msgspec

from ipc import Message
from modules.common.kube import PODS

from .cloud import Cloud
from .objects import NODE, Json, pod

LEASE = f"kube-node-lease/lease/{NODE}"
PATCH = f"null/nodepatch/{NODE}"
OTHER = "edge-node-2"
ROLES = {"node-role.kubernetes.io/edge": "", "node-role.kubernetes.io/agent": ""}

#: A Node as a kubelet registers it.
REGISTERED = {
    "metadata": {
        "name": NODE,
        "creationTimestamp": None,
        "labels": {
            "kubernetes.io/hostname": NODE,
            "kubernetes.io/os": "linux",
            "kubernetes.io/arch": "amd64",
            "beta.kubernetes.io/arch": "amd64",
            **ROLES,
        },
        "annotations": {"volumes.kubernetes.io/controller-managed-attach-detach": "true"},
    },
    "spec": {},
    "status": {"capacity": {"cpu": "2"}, "conditions": [{"type": "Ready", "status": "False"}]},
}


def fields(answer: Message) -> tuple[str, str, str, str]:
    return answer.source, answer.group, answer.operation, answer.resource


def responds(resource: str) -> tuple[str, str, str, str]:
    return "edgecontroller", "resource", "response", f"node/{NODE}/{resource}"


def without_managed_fields(obj: Json) -> Json:
    obj["metadata"].pop("managedFields", None)
    return obj


def failure(answer: Message) -> Json:
    """Return the Status in an ObjectResp; every field of it has a value that a kubelet can use."""
    assert answer.operation == "response"
    assert answer.content.keys() == {"Object", "Err"}
    assert answer.content["Object"] == {"metadata": {"creationTimestamp": None}}
    assert answer.content["Err"].keys() == {"ErrStatus"}
    status: Json = answer.content["Err"]["ErrStatus"]
    assert status["status"] == "Failure"
    assert status["message"]
    assert status["metadata"] == {}
    return status


def reason(answer: Message) -> tuple[int, str]:
    status = failure(answer)
    return status["code"], status["reason"]


async def register(cloud: Cloud) -> Json:
    answer = await cloud.call("insert", f"null/node/{NODE}", REGISTERED)
    assert answer.content["Err"] is None
    found: Json = answer.content["Object"]
    await cloud.drain()
    return found


async def bound(cloud: Cloud, name: str = "p", on: str = NODE) -> Json:
    """Create a pod on a node, and wait until the controller knows it."""
    created = await cloud.api.create(PODS, pod(name, on), "default")
    await cloud.drain()
    return created


def pod_patch(uid: str, **status: Any) -> str:
    return msgspec.json.encode({"metadata": {"uid": uid}, "status": status}).decode()


def token_request(uid: str, name: str = "p", **ref: str) -> Json:
    bound_to = {"kind": "Pod", "apiVersion": "v1", "name": name, "uid": uid, **ref}
    return {"spec": {"audiences": None, "expirationSeconds": 3607, "boundObjectRef": bound_to}}


def with_token(audience: str) -> Json:
    """Return the part of a pod's spec that gives it a token for an audience."""
    source = {"path": "token", **({"audience": audience} if audience else {})}
    return {"volumes": [{"name": "t", "projected": {"sources": [{"serviceAccountToken": source}]}}]}
