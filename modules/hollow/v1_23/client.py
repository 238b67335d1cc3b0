"""The Kubernetes API as edged sees it: questions to the cloud, and what the edge has stored.

After edge/pkg/metamanager/client. An edge has its node's objects alone, so that names are few.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

from ipc import Message
from modules.common.times import parse_time
from modules.hollow.events import Emit
from modules.hollow.v1_23.metamanager import (
    OK,
    MetaManager,
    RequestError,
    is_object_response,
    value_of,
)
from modules.hollow.versions import Version

Json = dict[str, Any]

LEASES: Final = "kube-node-lease"
#: The longest time that a token is used, however long it is valid.
_LONGEST_TOKEN: Final = timedelta(hours=24)


class ApiError(RequestError):
    """The API refused a request; `reason` is the one of its Status: NotFound, Conflict ..."""

    def __init__(self, what: str, status: Json) -> None:
        self.reason = str(status.get("reason", ""))
        super().__init__(f"{what}: {status.get('message') or self.reason or status}")


class Client:
    """What the edged of one node asks; all methods raise RequestError if they get no object."""

    def __init__(self, node: str, version: Version, meta: MetaManager, emit: Emit) -> None:
        self.node_key = f"{version.node_namespace}/node/{node}"
        self._patch_key = f"{version.node_namespace}/nodepatch/{node}"
        self._lease_key = f"{LEASES}/lease/{node}"
        self._queries_node = version.node_is_queried
        self._meta = meta
        self._store = meta.store
        self._emit = emit

    async def create_node(self, node: Json) -> Json:
        return _object("insert", await self._meta.remote("insert", self.node_key, node))

    async def node(self) -> Json:
        """Return the Node: from the store, or up to 1.22 by a query."""
        if self._queries_node:
            return _plain(await self._meta.remote("query", self.node_key))
        node: Json | None = self._store.get(self.node_key)
        if node is None:
            raise RequestError(f"cannot read {self.node_key}: the edge has not stored it")
        return node

    async def patch_node(self, patch: Json) -> Json:
        """Patch the Node's status with a strategic merge patch, and store the Node."""
        answer = await self._meta.patch(self._patch_key, self.node_key, _text(patch))
        return _object("patch", answer)

    async def lease(self) -> Json:
        return _object("query", await self._meta.remote("query", self._lease_key))

    async def create_lease(self, lease: Json) -> Json:
        return _object("insert", await self._meta.remote("insert", self._lease_key, lease))

    async def update_lease(self, lease: Json) -> Json:
        return _object("update", await self._meta.remote("update", self._lease_key, lease))

    async def get(self, key: str) -> Json:
        """Return a configmap or secret: what is stored, or else by a query."""
        stored: Json | None = self._store.get(key)
        return stored if stored is not None else await self.query(key)

    async def query(self, key: str) -> Json:
        self._emit("query", key, "")
        return _plain(await self._meta.remote("query", key))

    async def token(self, namespace: str, account: str, spec: Json) -> Json:
        """Return a token for a pod: a stored one until 80 % of its life, or else a new one."""
        bound = spec["boundObjectRef"]
        resource = f"{namespace}/serviceaccounttoken/{account}"
        audiences = ",".join(spec["audiences"] or ())
        key = f"{resource}/{audiences}/{spec['expirationSeconds']}/{bound['name']}/{bound['uid']}"
        stored: Json | None = self._store.get(key)
        if stored is not None and not is_due(stored):
            return stored
        self._emit("query", resource, f"for pod {bound['name']}")
        request = {
            "metadata": {"creationTimestamp": None},
            "spec": spec,
            "status": {"token": "", "expirationTimestamp": None},
        }
        return _plain(await self._meta.remote("query", resource, request, key=key))

    def pod(self, key: str) -> Json | None:
        pod: Json | None = self._store.get(key)
        return pod

    async def patch_pod(self, key: str, patch: Json) -> Json:
        """Patch a pod's status with a strategic merge patch, and store the pod."""
        resource = key.replace("/pod/", "/podpatch/", 1)
        return _object("patch", await self._meta.patch(resource, key, _text(patch)))

    async def delete_pod(self, key: str, uid: str) -> None:
        """Delete a pod that has terminated; the push that follows removes it from the store."""
        options = {"gracePeriodSeconds": 0, "preconditions": {"uid": uid}}
        answer = value_of(await self._meta.ask("delete", key, options))
        if answer != OK:
            raise RequestError(f"cannot delete {key}: {_shown(answer)}")

    def report(self, event: Json) -> None:
        """Send an Event, which has no answer."""
        metadata = event["metadata"]
        resource = f"{metadata['namespace']}/event/{metadata['name']}"
        self._meta.tell(Message.build("edged", "meta", "insert", resource, event))


def _object(operation: str, answer: Message) -> Json:
    """Return the object of an ObjectResp; an Err that is zero in Go is none."""
    value = value_of(answer)
    what = f"cannot {operation} {answer.resource}"
    if not is_object_response(value):
        raise RequestError(f"{what}: {_shown(value)}")
    error = value["Err"] or {}
    if status := error.get("ErrStatus"):
        raise ApiError(what, status)
    if not isinstance(value["Object"], dict):
        raise RequestError(f"{what}: the answer has no object")
    return value["Object"]


def _plain(answer: Message) -> Json:
    value = value_of(answer)
    if answer.operation == "error" or not isinstance(value, dict):
        raise RequestError(f"cannot get {answer.resource}: {_shown(value)}")
    return value


def _text(patch: Json) -> str:
    return msgspec.json.encode(patch, order="deterministic").decode()


def _shown(value: Any) -> str:
    return value if isinstance(value, str) and value else "the answer is not an object"


def is_due(token: Json) -> bool:
    """Whether to renew a token (requiresRefresh in serviceaccount.go)."""
    seconds = token.get("spec", {}).get("expirationSeconds")
    expires = token.get("status", {}).get("expirationTimestamp")
    if seconds is None or not expires:
        return False
    end, life = parse_time(expires), timedelta(seconds=seconds)
    if end is None:
        return False
    now = datetime.now(UTC)
    return now > end - life + _LONGEST_TOKEN or now > end - life / 5
