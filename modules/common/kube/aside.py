"""Isolation of an object of the API, or a message of an edge, that cannot be used.

Only that one is set aside, and it is reported: by one log line, a Kubernetes Event and a metric. An
exception of an expected class describes the fault of the object. Any other exception is a bug in
cloudcore: it is logged with its traceback, and sets aside the same single object.
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
from modules.common.kube.reasons import Reason
from modules.common.kube.shapes import BadObject
from modules.common.message_resource import BadResource

#: Exceptions that mean a fault of the object or the message, not of this process.
EXPECTED: Final = (BadObject, BadResource, ChannelError, KubeError)

#: Characters of a reason, and of an Event's message, of which the API server takes 1024.
_LONGEST: Final = 900
_EVENT: Final = 1000

#: Subjects that are remembered, so that each is reported once.
_REMEMBERED: Final = 4096

log = logging.getLogger(__name__)


class Subject(NamedTuple):
    """An object or message; `kind` is for the metric, `involved` for the Event (None: no Event)."""

    kind: str
    name: str
    involved: dict[str, Any] | None = None
    event: str = "set aside"
    """The beginning of the Event's message, before the reason."""

    @classmethod
    def of(cls, resource: Resource, obj: Any) -> Subject:
        """Return the subject of an object, which may be malformed."""
        involved = reference(resource, obj)
        if "name" not in involved:
            return cls(resource.plural, f"one of the {resource.plural}, which has no usable name")
        name = resource.describe(involved.get("namespace"), involved["name"])
        return cls(resource.plural, name, involved)


class SetAside:
    """The subjects of one module that are set aside; reports when that begins and ends."""

    def __init__(self, recorder: EventRecorder, module: str) -> None:
        self.recorder = recorder
        self._module = module
        self._told: OrderedDict[tuple[str, str], str] = OrderedDict()

    @property
    def count(self) -> int:
        """The number of subjects that are set aside."""
        return len(self._told)

    def put(self, subject: Subject, error: Exception) -> None:
        """Set aside and report a subject; a repetition with the same reason is not reported."""
        reason, text = explain(error)
        identity = subject.kind, subject.name
        if self._told.get(identity) == text:
            return
        self._told[identity] = text
        self._told.move_to_end(identity)
        if len(self._told) > _REMEMBERED:
            self._told.popitem(last=False)
        metrics.SET_ASIDE.labels(self._module, subject.kind).inc()
        level, cause = (
            (logging.WARNING, None) if reason is Reason.INVALID else (logging.ERROR, error)
        )
        line = "cannot use %s: %s; it is set aside until it is changed"
        log.log(level, line, subject.name, text, exc_info=cause)
        if subject.involved:
            self.recorder.event(
                subject.involved, "Warning", reason, f"{subject.event}: {text}"[:_EVENT]
            )

    def end(self, subject: Subject, *, used: bool) -> None:
        """End the isolation of a subject: it is `used` again, or it is gone."""
        if self._told.pop((subject.kind, subject.name), None) is not None and used:
            log.info("%s is used again", subject.name)

    @contextmanager
    def isolating(self, subject: Subject) -> Iterator[None]:
        """Set the subject aside if the body raises an exception."""
        try:
            yield
        except Exception as error:
            self.put(subject, error)


def explain(error: Exception) -> tuple[Reason, str]:
    """Return the reason (of an Event) and the text for an exception.

    For an unexpected exception the text has only its class: its message may contain a secret.
    """
    if isinstance(error, EXPECTED):
        return Reason.INVALID, str(error)[:_LONGEST]
    return (
        Reason.INTERNAL,
        f"a bug in cloudcore, whose log has the traceback ({type(error).__name__})",
    )
