"""As PID 1 of a container the supervisor reaps what others leave behind."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

import psutil
import pytest

from tests.support.running import DEADLINE, Running

UNSHARE = ("unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc")


def can_unshare() -> bool:
    return os.system(f"{' '.join(UNSHARE)} true 2>/dev/null") == 0


@pytest.mark.skipif(not can_unshare(), reason="needs PID namespaces")
def test_orphans_are_reaped(tmp_path: Path) -> None:
    with Running(tmp_path, "orphaning", "good", wrapper=UNSHARE) as running:
        running.ready("orphaning", "good")
        assert running.detail("orphaning", "left") == 5
        supervisor = psutil.Process(running.process.pid).children()[0]
        deadline = time.monotonic() + DEADLINE
        while found := orphans(supervisor):
            assert time.monotonic() < deadline, f"not reaped: {found}"
        running.post("/modules/good/restart")
        assert running.module("good")["state"] == "ready"
        supervisor.terminate()
        assert running.wait() == 0


def orphans(supervisor: psutil.Process) -> list[psutil.Process]:
    """Those that still sleep, and those that have ended and wait for somebody to care."""
    found = []
    for child in supervisor.children():
        with contextlib.suppress(psutil.NoSuchProcess):
            found += [child] if child.name() == "sleep" else []
    return found
