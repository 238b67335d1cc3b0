"""Kubernetes Events: what a cluster's operator should see with `kubectl describe` and `get events`.

Like client-go's recorder (tools/record): the same thing said again raises the count of its Event,
and an object of which too much is said is passed over until it has become quieter.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeVar

from modules.common import times
from modules.common.failure_log import FailureLog
from modules.common.kube import metrics
from modules.common.kube.client import KubeClient
from modules.common.kube.errors import AlreadyExists, KubeError
from modules.common.kube.kinds import (
    EVENTS,
    Resource,
)
from modules.common.kube.ratelimit import TokenBucket
from modules.common.kube.retry import retry
from modules.common.kube.watching import Object

EventType = Literal["Normal", "Warning"]
Known = TypeVar("Known")

#: Events about one object: so many at once, then one in so many seconds (EventSourceObjectSpam-
#: Filter of client-go).
_BURST: Final = 25
_REFILL_SECONDS: Final = 300.0

#: Events that are remembered to be counted, objects that are watched for spam, and Events that
#: may wait for the API server.
_REMEMBERED: Final = 4096
_WAITING: Final = 1000

#: Attempts at an Event that the API server fails to write, outages aside; others wait meanwhile.
_ATTEMPTS: Final = 5

#: Where Events about cluster-wide objects are kept.
_DEFAULT_NAMESPACE: Final = "default"

#: Characters of a name, a namespace or a uid.
_LONGEST: Final = 253

#: Of the 253 characters of an object's name, those left beside the suffix.
_NAME_ROOM: Final = 253 - 17

log = logging.getLogger(__name__)


@dataclass
class _Event:
    """One Event; `written` is the count that the API server has, 0 before it has the Event."""

    body: Object
    count: int = 0
    written: int = 0


def reference(resource: Resource, obj: Any) -> Object:
    """Make the `involvedObject` of an Event about an object, of whatever can be used of it."""
    metadata = obj.get("metadata") if isinstance(obj, dict) else None
    given = metadata if isinstance(metadata, dict) else {}
    fields = ("name", "namespace", "uid", "resourceVersion")
    known = {field: given[field] for field in fields if _is_usable(given.get(field))}
    return {"apiVersion": resource.api_version, "kind": resource.kind, **known}


class EventRecorder:
    """Writes Events in the background; `event` never waits, and never fails for the API's sake."""

    def __init__(self, client: KubeClient, component: str) -> None:
        self._client = client
        self._component = component
        self._events: OrderedDict[str, _Event] = OrderedDict()
        self._limits: OrderedDict[str, TokenBucket] = OrderedDict()
        self._due: OrderedDict[str, _Event] = OrderedDict()
        self._filled = asyncio.Event()
        self._failures = FailureLog(log)
        self.dropped = 0
        """Events that were not written: said too often, or refused by the API server"""

    def event(self, involved: Object, type: EventType, reason: str, message: str) -> None:  # noqa: A002
        """Say something of an object (`reference`); `reason` is one word, for programs."""
        identity = (involved.get("uid") or involved["name"], type, reason, message)
        key = hashlib.sha256("\0".join(identity).encode()).hexdigest()[:16]
        if not self._within_limit(identity[0]) or (
            len(self._due) >= _WAITING and key not in self._due
        ):
            self._drop()
            return
        found = _recall(self._events, key, lambda: _Event(self._body(key, involved, *identity[1:])))
        found.count += 1
        found.body["involvedObject"] = involved
        found.body["lastTimestamp"] = times.format_now()
        self._due[key] = found
        self._filled.set()

    async def run(self) -> None:
        """Write until cancelled, one after the other: nothing waits for an Event."""
        while True:
            while not self._due:
                self._filled.clear()
                await self._filled.wait()
            _, event = self._due.popitem(last=False)
            try:
                await retry(
                    lambda event=event: self._write(event),  # type: ignore[misc]
                    self._client.health,
                    attempts=_ATTEMPTS,
                )
            except KubeError as error:
                self._drop()
                text = f"cannot write Events, first {event.body['reason']}: {error}; {error.hint}"
                self._failures.failed("", type(error).__name__, text)
            except Exception:
                self._drop()
                log.exception(f"cannot write the Event {event.body['reason']}")
            else:
                self._failures.worked("")

    async def _write(self, event: _Event) -> None:
        body = event.body
        name, namespace = body["metadata"]["name"], body["metadata"]["namespace"]
        count = event.count
        if not event.written:
            try:
                await self._client.create(EVENTS, {**body, "count": count}, namespace)
            except AlreadyExists:
                # By a predecessor of this process: how often, the answer to a patch tells.
                seen = {"lastTimestamp": body["lastTimestamp"]}
                found = await self._client.patch(EVENTS, name, seen, namespace)
                event.written = _count_of(found)
                event.count += event.written  # more may have been said meanwhile
                count = event.count
        if event.written:
            change = {"count": count, "lastTimestamp": body["lastTimestamp"]}
            await self._client.patch(EVENTS, name, change, namespace)
        event.written = count

    def _drop(self) -> None:
        self.dropped += 1
        metrics.EVENTS_DROPPED.labels(self._component).inc()

    def _within_limit(self, about: str) -> bool:
        return _recall(
            self._limits, about, lambda: TokenBucket(1 / _REFILL_SECONDS, _BURST)
        ).try_take()

    def _body(self, key: str, involved: Object, type_: str, reason: str, message: str) -> Object:
        return {
            "metadata": {
                "name": f"{involved['name'][:_NAME_ROOM].rstrip('.-')}.{key}",
                "namespace": involved.get("namespace", _DEFAULT_NAMESPACE),
            },
            "type": type_,
            "reason": reason,
            "message": message,
            "source": {"component": self._component},
            "firstTimestamp": times.format_now(),
            "reportingComponent": self._component,
            "reportingInstance": self._component,
        }


def _is_usable(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= _LONGEST


def _count_of(event: Object) -> int:
    count = event.get("count")
    return count if isinstance(count, int) else 1


def _recall(known: OrderedDict[str, Known], key: str, make: Callable[[], Known]) -> Known:
    """Return what is known, made if need be; what was asked for longest ago is forgotten."""
    if key not in known:
        known[key] = make()
        if len(known) > _REMEMBERED:
            known.popitem(last=False)
    known.move_to_end(key)
    return known[key]
