"""Signals: forwarded as themselves, never lost, insisted on."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from supervisor.fleet import shutdown
from tests.support.running import DEADLINE, Running


def kinds(running: Running, module: str) -> list[str]:
    return [line.split()[0] for line in running.lines(module)]


def test_messages_that_wait_for_a_stopped_module_are_told(tmp_path: Path) -> None:
    sets = ("supervisor.stop_timeout=0.3", "modules.telling.content=[3600.0, true]")
    with Running(tmp_path, "stuck", "telling", sets=sets) as running:
        running.ready("stuck", "telling")
        deadline = time.monotonic() + DEADLINE
        while running.module("stuck")["inbox"]["messages"] != 1:
            assert time.monotonic() < deadline
        kept = "stopped\nstuck: 1 message in its channel, kept until it is started\n"
        assert running.cli("stop", "stuck").stdout == kept
        assert running.cli("start", "stuck").returncode == 0
        assert running.module("stuck")["inbox"]["messages"] == 1
        running.signal(signal.SIGTERM)
        running.wait_for("module stuck: messages=1 in its channel were not handled and are dropped")
        assert running.wait() == 0


#: Soon enough for a test, and enough for a cleanup on a slow machine.
STOPS = 1.5
KILLED = f"killed: did not stop within {STOPS} s"


def quick(module: str) -> tuple[str, ...]:
    """Let one module be killed soon; others have their time."""
    return (f"modules.{module}.supervision.stop_timeout={STOPS}",)


def test_stop_names_a_module_that_had_to_be_killed(tmp_path: Path) -> None:
    with Running(tmp_path, "deaf", "good", sets=quick("deaf")) as running:
        running.ready("deaf", "good")
        done = running.cli("stop")
        assert (done.returncode, done.stdout) == (0, "stopped\n")
        assert done.stderr == (
            f"deaf did not stop in order: {KILLED}; what it was doing then was cut off, see "
            "`cloudcore crashes deaf --last`\n"
        )
        assert running.wait() == 0
        running.wait_for(rf"module deaf: stopping -> stopped \({KILLED}\)")
        running.wait_for(rf"\nW.* all modules have stopped, but not in order: deaf \({KILLED}\)\n")
        assert KILLED.removeprefix("killed: ") in running.cli("crashes", "deaf", "--last").stdout


def test_stop_for_programs_says_what_did_not_stop_in_order(tmp_path: Path) -> None:
    with Running(tmp_path, "stubborn", "good", sets=quick("stubborn")) as running:
        running.ready("stubborn", "good")
        running.cli("stop", "good")
        done = running.cli("stop", "-o", "json")
        assert json.loads(done.stdout) == {
            "pid": running.process.pid,
            "not_in_order": {"stubborn": f"{KILLED}; its cleanup was killed after {STOPS} s"},
        }
        assert done.stderr == ""
        assert running.wait() == 0


def test_stop_of_one_module_says_that_it_had_to_be_killed(tmp_path: Path) -> None:
    with Running(tmp_path, "deaf", "good", sets=quick("deaf")) as running:
        running.ready("deaf", "good")
        done = running.cli("stop", "deaf", "good")
        assert (done.returncode, done.stdout) == (0, "stopped\n")
        assert done.stderr.startswith(f"deaf did not stop in order: {KILLED}; ")
        assert "good did" not in done.stderr
        assert running.module("deaf")["reason"] == KILLED
        for again in ("deaf", "raising"):  # was killed before; is disabled, which has a reason too
            done = running.cli("stop", again)
            assert (done.stdout, done.stderr) == ("stopped\n", "")
        done = running.cli("stop")
        assert (done.stdout, done.stderr) == ("stopped\n", "")  # it was stopped before
        running.wait_for(r"\nI.* all modules have stopped\n")
        assert running.wait() == 0


@pytest.mark.parametrize("number", [signal.SIGILL, signal.SIGTRAP, signal.SIGABRT])
def test_what_beehive_shuts_down_on_too(tmp_path: Path, number: signal.Signals) -> None:
    with Running(tmp_path, "good") as running:
        running.ready("good")
        running.signal(number)
        running.wait_for(f"got {number.name}")
        running.wait_for(r"module good: ready -> stopping \(SIGTERM\)")
        assert running.wait() == 0
        assert kinds(running, "good") == ["start", "unwound", "cleanup"]


def test_modules_stop_in_reverse_order_but_for_those_that_stop_before_others(
    tmp_path: Path,
) -> None:
    sets = ('modules.several.supervision.stop_before=["good"]',)
    with Running(tmp_path, "several", "good", "asking", sets=sets) as running:
        running.ready("several", "several-2", "good", "asking")
        running.signal(signal.SIGTERM)
        running.wait_for("all modules have stopped")
        assert running.wait() == 0
        steps = re.findall(r"module (\S+): \S+ -> (stopping|stopped)", running.log)
        assert steps[:2] == [("asking", "stopping"), ("asking", "stopped")]
        assert sorted(steps[2:4]) == [("several", "stopping"), ("several-2", "stopping")]
        assert sorted(steps[4:6]) == [("several", "stopped"), ("several-2", "stopped")]
        assert steps[6:] == [("good", "stopping"), ("good", "stopped")]


def test_a_signal_during_start_up_is_kept(tmp_path: Path) -> None:
    """It comes right after the signals are held, before there is anything that could hear it."""
    code = (
        "import os, signal, sys, supervisor.fleet.shutdown as s; from tests.support import testbed;"
        "hold = s.hold_signals; "
        "import supervisor.main as r; "
        "r.hold_signals = lambda: (hold(), os.kill(os.getpid(), signal.SIGTERM));"
        f"testbed.main([{str(tmp_path)!r}, 'good'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=20, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "got SIGTERM" in done.stderr
    assert "all modules have stopped" in done.stderr


def test_another_signal_during_the_shutdown_is_forwarded_and_kills_nothing(tmp_path: Path) -> None:
    with Running(tmp_path, "hearing") as running:
        running.ready("hearing")
        running.signal(signal.SIGTERM)
        running.wait_for(r"hearing: ready -> stopping \(SIGTERM\)")
        running.signal(signal.SIGHUP)
        running.wait_for("got SIGHUP while stopping")
        assert running.wait() == 0
        assert kinds(running, "hearing") == ["unwound", "cleanup"]


def test_the_same_signal_again_kills_and_still_cleans_up(tmp_path: Path) -> None:
    with Running(tmp_path, "deaf", "good") as running:
        running.ready("deaf", "good")
        pid = running.module("deaf")["pid"]
        running.cli("stop", "good")
        running.signal(signal.SIGTERM)
        running.wait_for("deaf: ready -> stopping")
        running.signal(signal.SIGTERM)
        running.wait_for(r"deaf did not stop before SIGTERM came again: killing it")
        assert running.wait() == 128 + signal.SIGTERM
        assert not psutil.pid_exists(pid)
        assert kinds(running, "deaf") == ["start", "cleanup"]
        assert not list((tmp_path / "run").iterdir())


def test_a_third_time_ends_all_at_once(tmp_path: Path) -> None:
    with Running(tmp_path, "deaf", "lingering") as running:
        running.ready("deaf", "lingering")
        running.signal(signal.SIGINT)
        running.wait_for("-> stopping")
        running.signal(signal.SIGINT)
        running.wait_for("got SIGINT again")
        running.signal(signal.SIGINT)
        running.wait_for("got SIGINT a third time")
        assert running.wait() == 128 + signal.SIGINT


def test_under_nohup_a_hangup_is_ignored(tmp_path: Path) -> None:
    """By the supervisor, and by the modules: `good` would unwind."""
    with Running(tmp_path, "good", wrapper=("nohup",)) as running:
        running.ready("good")
        running.signal(signal.SIGHUP)
        psutil.Process(running.module("good")["pid"]).send_signal(signal.SIGHUP)
        answer = running.post("/modules/good/restart")
        assert answer["state"] == "ready"
        assert running.events("good").count("ready -> stopping") == 1
        running.signal(signal.SIGTERM)
        assert running.wait() == 0
        assert "got SIGHUP" not in running.log


def test_modules_have_process_groups_of_their_own(tmp_path: Path) -> None:
    """Ctrl-C signals the terminal's foreground group: only the supervisor is in it."""
    with Running(tmp_path, "good", "asking") as running:
        running.ready("good", "asking")
        groups = {running.module(name)["pid"] for name in ("good", "asking")}
        for name in ("good", "asking"):
            pid = running.module(name)["pid"]
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            assert int(fields[2]) == pid
        assert running.process.pid not in groups


def test_a_circle_that_a_reload_has_left_keeps_nobody_from_stopping() -> None:
    def unit(name: str, *before: str) -> Any:
        return SimpleNamespace(
            module=SimpleNamespace(name=name), supervision=SimpleNamespace(stop_before=before)
        )

    first, second = unit("first", "second"), unit("second", "first")
    assert shutdown._first_to_stop([first, second]) == [second]
