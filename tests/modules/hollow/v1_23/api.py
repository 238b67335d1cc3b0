"""A cloud that answers edges of 1.15 to 1.23 from a few objects, as EdgeController does."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import msgspec

from ipc import Message
from modules.hollow.edge import HollowEdge
from modules.hollow.store import split
from modules.hollow.v1_23.edged import Edged
from tests.modules.hollow.cloud import QUICK, Cloud, Session

TIMING = replace(
    QUICK,
    register=0.01,
    node_status=0.05,
    lease=0.05,
    pod_sync=0.1,
    mount=0.01,
    start=0.02,
    query=0.5,
)
Json = dict[str, Any]
CLUSTER = {"lease": "kube-node-lease"}


def pod(name: str = "p1", node: str = "edge-1", uid: str = "", **spec: Any) -> Json:
    containers = [{"name": "c", "image": "app:1"}]
    return {
        "metadata": {"name": name, "namespace": "default", "uid": uid or f"uid-{name}"},
        "spec": {"nodeName": node, "containers": containers, **spec},
        "status": {"phase": "Pending"},
    }


class Api:
    """What is in the cluster, by the edge's keys, and the answers to questions about it."""

    def __init__(self, cloud: Cloud) -> None:
        self.objects: dict[str, Json] = {}
        self.patches: list[tuple[str, Json]] = []
        self.silent: set[str] = set()
        """Types that are not answered."""
        self.refusals: dict[tuple[str, str], Json] = {}
        """Operation and type -> the Status of the error; it is for one time."""
        self.token_expires = "2100-01-01T00:00:00Z"
        self._cloud = cloud
        self._versions = itertools.count(1)
        cloud.on_message = self._take

    def put(self, key: str, value: Json) -> Json:
        kind = split(key)[1]
        metadata = value["metadata"] | {"resourceVersion": str(next(self._versions))}
        metadata.setdefault("uid", f"uid-of-{kind}")
        self.objects[key] = value | {"metadata": metadata}
        return self.objects[key]

    def push(self, operation: str, key: str, value: Json | None = None) -> Message:
        if value is not None:
            self.put(key, value)
        return self._cloud.send_object(operation, key, self.objects.get(key))

    def _take(self, message: Message, session: Session) -> None:
        kind = split(message.resource)[1]
        if message.source != "edged" or kind in self.silent or kind == "event":
            return
        answer = message.response(
            self._answer(message, kind), source="edgecontroller", group="resource"
        )
        if isinstance(answer.content, Missing):
            answer.operation, answer.content = "error", f"{message.resource} not found"
        self._cloud.send(answer, session)

    def _answer(self, message: Message, kind: str) -> Any:
        if refusal := self.refusals.pop((message.operation, kind), None):
            return {"Object": None, "Err": {"ErrStatus": refusal}}
        match message.operation, kind:
            case "insert", "node" | "lease" if message.resource in self.objects:
                return _refused("AlreadyExists", 409)
            case (("insert" | "update"), "node" | "lease"):
                return _response(self.put(message.resource, value_of(message)))
            case "query", "lease":
                lease = self.objects.get(message.resource)
                return _response(lease) if lease else _refused("NotFound", 404)
            case "query", "serviceaccounttoken":
                return self._token(value_of(message))
            case "patch", "nodepatch" | "podpatch":
                return self._patched(message, kind.removesuffix("patch"))
            case "delete", "pod":
                return "OK"
        return self.objects.get(message.resource, Missing())

    def _patched(self, message: Message, kind: str) -> Json:
        key = message.resource.replace(f"/{kind}patch/", f"/{kind}/")
        assert isinstance(message.content, str)
        patch = msgspec.json.decode(message.content)
        self.patches.append((key, patch))
        if key not in self.objects:
            return _refused("NotFound", 404)
        known = self.objects[key]
        status = apply(known.get("status") or {}, patch.get("status") or {})
        return _response(self.put(key, known | {"status": status}))

    def _token(self, request: Json) -> Json:
        status = {"token": "secret-token", "expirationTimestamp": self.token_expires}
        return request | {"status": status}


class Missing:
    """Stands for an object that is not there."""


def value_of(message: Message) -> Any:
    content = message.content
    return msgspec.json.decode(content) if isinstance(content, bytes) else content


def apply(old: Json, patch: Json) -> Json:
    """Apply a strategic merge patch of a status, as far as edges use it."""
    made = dict(old)
    for key, value in patch.items():
        if key.startswith("$"):
            continue
        if value is None:
            made.pop(key, None)
        elif key in {"conditions", "podIPs", "hostIPs"}:
            name = "type" if key == "conditions" else "ip"
            known = {each[name]: each for each in old.get(key, ())}
            for each in value:
                if each.get("$patch") == "delete":
                    del known[each[name]]
                else:
                    known[each[name]] = apply(known.get(each[name], {}), each)
            made[key] = list(known.values())
        elif isinstance(value, dict) and isinstance(old.get(key), dict):
            made[key] = apply(old[key], value)
        else:
            made[key] = value
    return made


def _response(found: Json) -> Json:
    return {"Object": found, "Err": None}


def _refused(reason: str, code: int) -> Json:
    return {"Object": None, "Err": {"ErrStatus": status_of(reason, code)}}


def status_of(reason: str, code: int) -> Json:
    return {"status": "Failure", "reason": reason, "message": f"it is {reason}", "code": code}


def edged_of(edge: HollowEdge) -> Edged:
    assert isinstance(edge.edged, Edged)
    return edge.edged
