"""A check of all tests of modules, that the reference has each message; and what several need."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from typing import Any

import pytest

import ipc.message
from docs.generate import messages
from ipc import Message
from modules.common.sync import object_syncs
from tests.docs.pages import ROOT

#: What builds no message of cloudcore's own: simulated edges, and answers to CSI drivers.
OTHERS = tuple(str(ROOT / "modules" / each) for each in ("hollow", "cloudhub/csi/answers.py"))
MODULES = str(ROOT / "modules")

_build = Message.build.__func__  # type: ignore[attr-defined] - of a classmethod


@pytest.fixture(autouse=True)
def known_messages(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fail a test in which a module has built a message that no entry is about."""
    built: list[Message] = []

    def build(cls: type[Message], *args: Any, **kwargs: Any) -> Message:
        made: Message = _build(cls, *args, **kwargs)
        frame = sys._getframe(1)
        while frame.f_code.co_filename == ipc.message.__file__ and frame.f_back:
            frame = frame.f_back
        if frame.f_code.co_filename.startswith(MODULES) and not (
            frame.f_code.co_filename.startswith(OTHERS)
        ):
            built.append(made)
        return made

    monkeypatch.setattr(Message, "build", classmethod(build))
    yield
    routes = {(each.source, each.group, each.operation, each.resource) for each in built}
    unknown = [route for route in routes if not messages.find(Message("", "", 0, False, *route))]
    assert not unknown, "docs/generate/message_table.py has no entry for these"


@pytest.fixture(autouse=True)
def _thaw() -> Iterator[None]:
    """Have collected what a test leaves: modules freeze at their start, and their process ends."""
    yield
    gc.unfreeze()


@pytest.fixture
def object_syncs_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have ObjectSyncs written 0.1 s after what they are about."""
    monkeypatch.setattr(object_syncs, "_PAUSE", 0.1)
