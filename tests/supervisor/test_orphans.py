"""As PID 1 of a container the supervisor reaps what others leave behind."""

from __future__ import annotations

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
        while zombies(supervisor):
            assert time.monotonic() < deadline, f"not reaped: {zombies(supervisor)}"
        running.post("/modules/good/restart")
        assert running.module("good")["state"] == "ready"
        supervisor.terminate()
        assert running.wait() == 0


def zombies(supervisor: psutil.Process) -> list[psutil.Process]:
    return [child for child in supervisor.children() if child.status() == psutil.STATUS_ZOMBIE]
