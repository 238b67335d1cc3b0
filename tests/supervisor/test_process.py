from __future__ import annotations

import asyncio
import errno
import os
import signal
import sys
from types import SimpleNamespace
from typing import Any, NoReturn

import psutil
import pytest

from supervisor.unit import process
from supervisor.unit.shared_state import SharedState
from tests.support.waiting import DEADLINE


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


async def test_a_fork_that_fails_leaves_no_descriptor(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    shared_state = SharedState()
    launch: Any = SimpleNamespace(
        name="m", module=SimpleNamespace(start=wait_for_ever), shared_state=shared_state
    )
    before = psutil.Process().num_fds()
    monkeypatch.setattr(os, "fork", refuse)
    for _ in range(3):
        with pytest.raises(BlockingIOError):
            process.ModuleProcess(wait_for_ever, launch)
    assert psutil.Process().num_fds() == before
    shared_state.close()


async def test_a_process_whose_usage_cannot_be_read_does_not_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(_: int) -> psutil.Process:
        raise OSError(errno.ENFILE, os.strerror(errno.ENFILE))

    shared_state = SharedState()
    before = psutil.Process().children()
    monkeypatch.setattr(process.psutil, "Process", refuse)
    launch: Any = SimpleNamespace(
        name="m", module=SimpleNamespace(start=wait_for_ever), shared_state=shared_state
    )
    with pytest.raises(OSError, match="Too many open files"):
        process.ModuleProcess(wait_for_ever, launch)
    monkeypatch.undo()
    shared_state.close()
    assert not process.living
    assert psutil.Process().children() == before


async def test_a_full_disk_below_stderr_does_not_keep_a_process_from_starting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse() -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    shared_state = SharedState()
    launch: Any = SimpleNamespace(
        name="m", module=SimpleNamespace(start=wait_for_ever), shared_state=shared_state
    )
    monkeypatch.setattr(sys, "stderr", SimpleNamespace(flush=refuse))
    started = process.ModuleProcess(wait_for_ever, launch)
    monkeypatch.undo()
    started.kill()
    async with asyncio.timeout(DEADLINE):
        assert await started.wait() == -signal.SIGKILL
    shared_state.close()
