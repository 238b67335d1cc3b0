"""Kubernetes Events, which `kubectl describe` and `kubectl get events` show.

As in the recorder of client-go (tools/record), a repetition increments the count of its Event, and
Events about one object have a rate limit.
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
from modules.common.kube.kinds import EVENTS, Resource
from modules.common.kube.ratelimit import TokenBucket
from modules.common.kube.reasons import Reason
from modules.common.kube.retry import retry
from modules.common.kube.watching import Object

EventType = Literal["Normal", "Warning"]
Known = TypeVar("Known")

#: The rate limit of Events about one object: a burst, then one in this many seconds
#: (EventSourceObjectSpamFilter of client-go).
_BURST: Final = 25
_REFILL_SECONDS: Final = 300.0

#: Events that are remembered for their counts, objects with a rate limit, and Events that wait for
#: the API server.
_REMEMBERED: Final = 4096
_WAITING: Final = 1000

#: Attempts to write an Event, not counting outages; the other Events wait meanwhile.
_ATTEMPTS: Final = 5

#: The namespace of Events about cluster-wide objects.
_DEFAULT_NAMESPACE: Final = "default"

#: Characters of a name, a namespace or a uid.
_LONGEST: Final = 253

#: Characters of the prefix of an Event's name; a name has up to 253 with the suffix.
_NAME_ROOM: Final = 253 - 17

log = logging.getLogger(__name__)


@dataclass
class _Event:
    """One Event; `written` is the count in the API server, 0 before the Event is written."""

    body: Object
    count: int = 0
    written: int = 0


def reference(resource: Resource, obj: Any) -> Object:
    """Return the `involvedObject` of an Event, from the valid fields of an object."""
    metadata = obj.get("metadata") if isinstance(obj, dict) else None
    given = metadata if isinstance(metadata, dict) else {}
    fields = ("name", "namespace", "uid", "resourceVersion")
    known = {field: given[field] for field in fields if _is_usable(given.get(field))}
    return {"apiVersion": resource.api_version, "kind": resource.kind, **known}


class EventRecorder:
    """A writer of Events in the background; `event` never blocks or fails because of the API."""

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

    def event(self, involved: Object, type: EventType, reason: Reason, message: str) -> None:  # noqa: A002
        """Record an Event about an object (`reference`); `reason` is for programs."""
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
        """Write the Events one after the other, until cancelled."""
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
                log.exception("cannot write the Event %s", event.body["reason"])
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
                # Written by a previous process: the response to a patch has its count.
                seen = {"lastTimestamp": body["lastTimestamp"]}
                found = await self._client.patch(EVENTS, name, seen, namespace)
                event.written = _count_of(found)
                event.count += event.written  # there may have been repetitions meanwhile
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
    """Return the value of a key, created if missing; the least recently used one is dropped."""
    if key not in known:
        known[key] = make()
        if len(known) > _REMEMBERED:
            known.popitem(last=False)
    known.move_to_end(key)
    return known[key]
