"""SIGKILL of a module while messages flow: the others do not notice, and nothing is lost."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from tests.support.running import Running

KILLS = 5


def asked(running: Running) -> int:
    return int(running.module("asking")["details"].get("asked", 0))


def wait_for_more(running: Running, than: int) -> None:
    for _ in range(2000):
        if asked(running) > than:
            return
    raise AssertionError(f"no message came after {than}: {running.log}")


def test_a_module_s_peer_is_killed_again_and_again(tmp_path: Path) -> None:
    """Every question is answered in the end: `asking` would end if one were lost."""
    sets = ("supervisor.max_restarts=100", "supervisor.healthy_after=0.0")
    with Running(tmp_path, "good", "asking", sets=sets) as running:
        running.ready("good", "asking")
        asking = running.module("asking")["pid"]
        for _ in range(KILLS):
            wait_for_more(running, asked(running))
            os.kill(running.module("good")["pid"], signal.SIGKILL)
            running.wait_for("good: ready -> crashed")
            running.ready("good")
        wait_for_more(running, asked(running))
        assert running.module("asking")["pid"] == asking
        assert running.module("asking")["restarts"] == 0
        assert running.module("good")["restarts"] == KILLS
        running.signal(signal.SIGTERM)
        assert running.wait() == 0
        cleanups = [line for line in running.lines("good") if line.startswith("cleanup")]
        starts = [line for line in running.lines("good") if line.startswith("start")]
        assert len(cleanups) == len(starts) == KILLS + 1
