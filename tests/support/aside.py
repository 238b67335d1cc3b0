"""A SetAside whose Events the test reads."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

from modules.common.kube import EventRecorder, SetAside


class Events:
    """Stands for the recorder."""

    def __init__(self) -> None:
        self.written: list[tuple[dict[str, Any], str, str]] = []

    def event(self, involved: dict[str, Any], type: str, reason: str, message: str) -> None:  # noqa: A002
        self.written.append((involved, reason, message))


def make_set_aside(events: Events | None = None) -> SetAside:
    return SetAside(cast("EventRecorder", events or Events()), "test")


class Tracebacks(logging.Handler):
    """Collects what was logged with a traceback: the bugs."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info:
            self.found.append(self.format(record))


@contextmanager
def no_bug() -> Iterator[None]:
    """Check that nothing is logged with a traceback."""
    tracebacks = Tracebacks()
    logging.getLogger().addHandler(tracebacks)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(tracebacks)
    assert not tracebacks.found, tracebacks.found[0]
