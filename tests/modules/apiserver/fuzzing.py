"""Requests to an API server that nobody should send, made from ones that everybody sends."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import quote

from tests.modules.apiserver.samples import pod
from tests.modules.apiserver.test_certificates import condition, request
from tests.modules.apiserver.test_crds import BOAT, meta, paths

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
CORE = "/api/v1/namespaces/default"
JSON = "application/json"
MANY_DIGITS = 4301
KINDS: dict[str, dict[str, Any]] = {
    CRDS: BOAT,
    "/apis/sea.io/v1/boats": {**meta("b"), "spec": {"size": 1, "tags": ["a"]}},
    f"{CORE}/pods": pod("p", node="n", volumes=[{"name": "v"}], tolerations=[{"key": "x"}]),
    f"{CORE}/configmaps": {"metadata": {"name": "c"}, "data": {"a": "b"}, "binaryData": {}},
    f"{CORE}/secrets": {"metadata": {"name": "s"}, "data": {"a": "Yg=="}, "stringData": {"c": "d"}},
    f"{CORE}/services": {
        "metadata": {"name": "s"},
        "spec": {"ports": [{"port": 80}], "selector": {"a": "b"}, "clusterIP": "10.96.0.9"},
    },
    f"{CORE}/events": {
        "metadata": {"name": "e"}, "involvedObject": {"kind": "Pod", "name": "p"}, "count": 1,
        "series": {"lastObservedTime": "2020-01-01T00:00:00Z"}, "lastTimestamp": None,
    },
    f"{CORE}/endpoints": {
        "metadata": {"name": "e"},
        "subsets": [{"addresses": [{"ip": "1.2.3.4"}], "ports": [{"port": 1}]}],
    },
    f"{CORE}/persistentvolumeclaims": {
        "metadata": {"name": "c"}, "spec": {"accessModes": ["ReadWriteOnce"], "volumeName": "v"},
    },
    f"{CORE}/serviceaccounts": {
        "metadata": {"name": "a"}, "secrets": [{"name": "s"}], "imagePullSecrets": [{"name": "r"}],
        "automountServiceAccountToken": True,
    },
    f"{CORE}/serviceaccounts/a0/token": {
        "metadata": {"name": "a"}, "spec": {
            "audiences": ["x"], "expirationSeconds": 600,
            "boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": "p0", "uid": ""},
        },
    },
    "/apis/authentication.k8s.io/v1/tokenreviews": {
        "metadata": {"name": "t"}, "spec": {"token": "a.b.c", "audiences": ["x"]},
    },
    "/apis/certificates.k8s.io/v1/certificatesigningrequests": {
        **request(expirationSeconds=600), "metadata": {"name": "c"},
        "status": {"conditions": [condition("Approved")], "certificate": ""},
    },
    "/api/v1/nodes": {
        "metadata": {"name": "n", "labels": {"a": "b"}},
        "spec": {"unschedulable": True, "taints": [{"key": "x"}]},
        "status": {
            "conditions": [{"type": "Ready", "status": "True"}],
            "addresses": [{"type": "InternalIP", "address": "1.2.3.4"}],
        },
    },
    "/api/v1/namespaces": {"metadata": {"name": "team", "finalizers": ["a.io/b"]}},
    "/apis/coordination.k8s.io/v1/namespaces/default/leases": {
        "metadata": {"name": "l"}, "spec": {"holderIdentity": "x", "leaseTransitions": 1},
    },
    "/apis/devices.kubeedge.io/v1alpha1/namespaces/default/devices": {
        "metadata": {"name": "d", "ownerReferences": [{"uid": "u"}], "finalizers": ["a.io/b"]},
        "spec": {"deviceModelRef": {"name": "m"}}, "status": {"twins": [{"desired": {}}]},
    },
}  # fmt: skip
DOCUMENTS = (
    "/api", "/apis", "/api/v1", "/apis/sea.io/v1", "/apis/sea.io", "/openapi/v3", "/openapi/v2",
    "/openapi/v3/api/v1", "/openapi/v3/apis/sea.io/v1", "/version", "/nowhere", "//", "/api//v1",
)  # fmt: skip
PATCHES = ("merge-patch+json", "strategic-merge-patch+json", "json-patch+json", "apply-patch+yaml")
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 5, 2**31, 2**63, -(2**64), 10**300, 1.5, 1e300, "", "x", "x" * 300,
    "\u0661", "\x00", "a/b", "a\nb", "é" * 70, "9" * MANY_DIGITS, [], ["x"], [[]], [{}], [None], {},
    {"x": 1}, {"x": {}}, {"": ""}, {"$patch": "delete"}, {"$retainKeys": 5}, {"$patch": [1]},
    [{"$patch": "replace"}], {"name": {}}, [{"name": ["x"]}], "2020-01-01T00:00:00Z", "0001-01-01",
)  # fmt: skip
QUERIES = (
    "limit", "continue", "labelSelector", "fieldSelector", "resourceVersion", "timeoutSeconds",
    "gracePeriodSeconds", "dryRun", "propagationPolicy", "includeObject", "sendInitialEvents",
    "allowWatchBookmarks", "resourceVersionMatch", "fieldManager", "pretty",
)  # fmt: skip
TEXTS = (
    "", "1", "0", "-1", "All", "true", "a=b", "a in (b,c)", "a notin (", "!a", "a>1",
    "a<" + "9" * 99,
    "metadata.name=x", "spec.nodeName=n", "status.phase!=x", "x" * 500, "\u0661", "%", "\x00", "é",
    "9" * MANY_DIGITS, "None", "Object", "9223372036854775808", ",,,", "=",
)  # fmt: skip


class Request(NamedTuple):
    method: str
    url: str
    body: bytes | None = None
    headers: dict[str, str] = {}  # noqa: RUF012


class Generator:
    """Makes requests; the same for the same seed and the same answers."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.known: dict[str, Any] = {}  # what is there, by path
        self.token = ""

    def next(self) -> Request:
        makers = (
            self.create, self.create, self.create, self.update, self.patch, self.patch, self.patch,
            self.read, self.read, self.delete, self.document, self.garbage,
        )  # fmt: skip
        return self.random.choice(makers)()

    def create(self) -> Request:
        collection = self.random.choice([CRDS, *KINDS])
        obj = _copy(KINDS[collection])
        obj["metadata"].pop("resourceVersion", None)
        if collection != CRDS or self.random.random() < 0.2:
            obj["metadata"]["name"] = f"{obj['metadata']['name']}{self.random.randrange(3)}"
        return self._request("POST", collection, self._spoiled(obj), JSON)

    def update(self) -> Request:
        path = self._path()
        return self._request("PUT", path, self._spoiled(self.known.get(path, {})), JSON)

    def patch(self) -> Request:
        path, kind = self._path(), self.random.choice(PATCHES)
        obj = self.known.get(path, {})
        body: Any = self._operations(obj) if kind.startswith("json") else self._part(obj)
        if self.random.random() < 0.1:
            body = self.random.choice(ODD)
        return self._request("PATCH", path, body, f"application/{kind}")

    def read(self) -> Request:
        path = self.random.choice([*KINDS, self._path()])
        accept = self.random.choice((TABLE, JSON, "*/*", ",;=", "application/json;as=Table;v=v9"))
        return Request("GET", path + self._query(), headers={"Accept": accept})

    def delete(self) -> Request:
        options: Any = {
            "gracePeriodSeconds": 0, "preconditions": {"uid": "u"}, "dryRun": ["All"],
            "propagationPolicy": "Background", "orphanDependents": True,
        }  # fmt: skip
        kept = {key: value for key, value in options.items() if self.random.random() < 0.3}
        return self._request("DELETE", self._path(), self._spoiled(kept), JSON)

    def document(self) -> Request:
        return Request("GET", self.random.choice(DOCUMENTS))

    def garbage(self) -> Request:
        """Damage below JSON: bytes, protobuf, content encodings, methods."""
        path = self.random.choice([*KINDS, self._path()])
        method = self.random.choice(("POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD", "GET"))
        body = bytearray(json.dumps(self.random.choice([*KINDS.values(), *ODD])).encode())
        for _ in range(self.random.randrange(4)):
            body[self.random.randrange(len(body))] = self.random.randrange(256)
        content_type = self.random.choice(
            (JSON, "application/vnd.kubernetes.protobuf", "text/plain", "x", *PATCHES)
        )
        if "protobuf" in content_type:
            body[:0] = b"k8s\0\n\x0f\n\x02v1\x12\x09ConfigMap\x12"
        if self.random.random() < 0.1:
            body = bytearray(b'{"spec":' * 3000 + b"1" * MANY_DIGITS)
        headers = {"Content-Type": content_type}
        if self.random.random() < 0.1:
            headers["Content-Encoding"] = self.random.choice(("gzip", "deflate"))
        return Request(method, path + self._query(), bytes(body), headers)

    def _request(self, method: str, path: str, body: Any, content_type: str) -> Request:
        query = self._query() if self.random.random() < 0.3 else ""
        return Request(
            method, path + query, json.dumps(body).encode(), {"Content-Type": content_type}
        )

    def _path(self) -> str:
        """Return the path of something that is there, mostly."""
        path = f"{self.random.choice([*KINDS])}/x"
        if self.known and self.random.random() < 0.95:
            path = self.random.choice([*self.known])
        return path + self.random.choice(
            ("", "", "", "", "", "/status", "/approval", "/binding", "/x")
        )

    def _query(self) -> str:
        given = self.random.sample(QUERIES, self.random.choice((0, 0, 1, 1, 2, 4)))
        texts = [(name, self.random.choice((*TEXTS, self.token))) for name in given]
        return "?" + "&".join(f"{name}={quote(text)}" for name, text in texts)

    def _spoiled(self, obj: Any) -> Any:
        """Change a few fields of it, or none."""
        obj = _copy(obj)
        for _ in range(self.random.choice((0, 1, 1, 1, 2, 3))):
            everything = list(paths(obj))
            if not everything:
                return obj
            *way, last = self.random.choice(everything)
            parent = obj
            for step in way:
                parent = parent[step]
            if self.random.random() < 0.2:
                del parent[last]
            else:
                parent[last] = _copy(self._odd())
        return obj

    def _odd(self) -> Any:
        if self.random.random() > 0.02:
            return self.random.choice(ODD)
        value: Any = "deep"
        for _ in range(self.random.choice((100, 190, 250, 400))):
            value = {"x": value} if self.random.random() < 0.5 else [value]
        return value

    def _part(self, obj: Any) -> Any:
        """Return the skeleton of a patch: one way into the object, and something odd at its end."""
        everything = [way for way in paths(obj) if all(isinstance(step, str) for step in way)]
        part = self._odd()
        for step in reversed(self.random.choice(everything) if everything else ()):
            part = {step: part}
        return part

    def _operations(self, obj: Any) -> list[Any]:
        pointers = ["", "/", "/x/-", "/metadata/finalizers/0", f"/spec/{'9' * MANY_DIGITS}"]
        pointers += ["/" + "/".join(map(str, way)) for way in paths(obj)]
        operations: list[Any] = []
        for _ in range(self.random.randrange(1, 4)):
            end = self.random.choice(("", "", "/-", "/x", "/0"))
            operation = {
                "op": self.random.choice(("add", "remove", "replace", "move", "copy", "test", "x")),
                "path": self.random.choice(pointers) + end,
                "from": self.random.choice(pointers),
                "value": self._odd(),
            }
            if self.random.random() < 0.1:
                operation[self.random.choice([*operation])] = self._odd()
            operations += [operation] * self.random.choice((1, 1, 1, 2, 24))
        return operations


def _copy(value: Any) -> Any:
    """Copy JSON, in less time and stack than deepcopy."""
    return json.loads(json.dumps(value))


def below(path: str, known: dict[str, Any]) -> Iterator[str]:
    """Yield the paths of the objects of a CRD, given its own."""
    name, _, group = path.removeprefix(f"{CRDS}/").partition(".")
    yield from (
        other for other in known if other.startswith(f"/apis/{group}/") and f"/{name}/" in other
    )
