from __future__ import annotations

import errno
import os
import signal
from types import SimpleNamespace
from typing import Any, NoReturn

import psutil
import pytest

from supervisor.unit import process
from supervisor.unit.shared_state import SharedState


def wait_for_ever(_: Any) -> NoReturn:
    while True:
        signal.pause()


async def test_a_process_that_cannot_be_watched_does_not_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(_: int) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(os, "pidfd_open", refuse)
    shared_state = SharedState()
    before = psutil.Process().children()
    launch: Any = SimpleNamespace(
        name="m", module=SimpleNamespace(start=wait_for_ever), shared_state=shared_state
    )
    with pytest.raises(OSError, match="Too many open files"):
        process.ModuleProcess(wait_for_ever, launch)
    shared_state.close()
    assert not process.living
    assert psutil.Process().children() == before
