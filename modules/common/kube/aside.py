"""Isolation of what cannot be used: one object of the API, or one message of an edge.

It is set aside by itself, the rest goes on. Somebody can see it: one log line, a Kubernetes Event,
a metric. An error of an expected class says what is wrong with the object. Any other exception is
a bug in cloudcore: it is logged with its traceback, and sets aside no more than the former does.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

from ipc import ChannelError
from modules.common.kube import metrics
from modules.common.kube.errors import KubeError
from modules.common.kube.events import EventRecorder, reference
from modules.common.kube.kinds import Resource
from modules.common.kube.shapes import BadObject
from modules.common.message_resource import BadResource

#: The reasons of Events and conditions: it is for the user to change the object, or a bug.
INVALID: Final = "InvalidObject"
INTERNAL: Final = "InternalError"

#: What is wrong with an object or a message, rather than with this process.
EXPECTED: Final = (BadObject, BadResource, ChannelError, KubeError)

#: Characters of a reason, and of an Event's message, of which the API server takes 1024.
_LONGEST: Final = 900
_EVENT: Final = 1000

#: Subjects that are remembered, so that each is told of once.
_REMEMBERED: Final = 4096

log = logging.getLogger(__name__)


class Subject(NamedTuple):
    """What is set aside; `kind` is for the metric, `involved` for the Event (None: no Event)."""

    kind: str
    name: str
    involved: dict[str, Any] | None = None
    event: str = "set aside"
    """what the Event says of the object that is involved, before the reason"""

    @classmethod
    def of(cls, resource: Resource, obj: Any) -> Subject:
        """Describe an object, whatever is wrong with it."""
        involved = reference(resource, obj)
        if "name" not in involved:
            return cls(resource.plural, f"one of the {resource.plural}, which has no usable name")
        name = resource.describe(involved.get("namespace"), involved["name"])
        return cls(resource.plural, name, involved)


class SetAside:
    """Tells of what is set aside, and of its being used again."""

    def __init__(self, recorder: EventRecorder, module: str) -> None:
        self.recorder = recorder
        self._module = module
        self._told: OrderedDict[tuple[str, str], str] = OrderedDict()

    @property
    def count(self) -> int:
        """How many subjects have been told of and are not known to be used again."""
        return len(self._told)

    def put(self, subject: Subject, error: Exception) -> None:
        """Tell that something cannot be used; the same again is not told again."""
        reason, text = explain(error)
        identity = subject.kind, subject.name
        if self._told.get(identity) == text:
            return
        self._told[identity] = text
        self._told.move_to_end(identity)
        if len(self._told) > _REMEMBERED:
            self._told.popitem(last=False)
        metrics.SET_ASIDE.labels(self._module, subject.kind).inc()
        line = f"cannot use {subject.name}: {text}; it is set aside until it is changed"
        if reason == INVALID:
            log.warning(line)
        else:
            log.error(line, exc_info=error)
        if subject.involved:
            self.recorder.event(
                subject.involved, "Warning", reason, f"{subject.event}: {text}"[:_EVENT]
            )

    def end(self, subject: Subject, *, used: bool) -> None:
        """Take note that something is set aside no more: it is used again, or it is gone."""
        if self._told.pop((subject.kind, subject.name), None) is not None and used:
            log.info(f"{subject.name} is used again")

    @contextmanager
    def isolating(self, subject: Subject) -> Iterator[None]:
        """Set the subject aside if working on it raises anything."""
        try:
            yield
        except Exception as error:
            self.put(subject, error)


def explain(error: Exception) -> tuple[str, str]:
    """Return reason and text of what keeps an object from being used.

    An unexpected exception is named by its class alone: its text may hold what is secret.
    """
    if isinstance(error, EXPECTED):
        return INVALID, str(error)[:_LONGEST]
    return INTERNAL, f"a bug in cloudcore, whose log has the traceback ({type(error).__name__})"
