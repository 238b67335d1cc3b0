"""The supervisor with real processes: starting, dying, cleaning up, stopping."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import psutil
import pytest

from tests.support.running import Running, suspend


def test_modules_start_and_stop_in_order(tmp_path: Path) -> None:
    sets = ('modules.asking.supervision.after=["good"]',)
    with Running(tmp_path, "asking", "good", sets=sets) as running:
        running.wait_for("starting module good")
        running.ready("good")
        running.wait_for("starting module asking")
        running.ready("asking")
        status = running.status()
        assert status["state"] == "running"
        assert {module["name"] for module in status["modules"] if module["enabled"]} == {
            "asking",
            "good",
        }
        running.signal(signal.SIGTERM)
        running.wait_for("module asking: stopping -> stopped")
        running.wait_for("module good: stopping -> stopped")
        assert running.wait() == 0
    for name in ("asking", "good"):
        kinds = [line.split()[0] for line in running.lines(name)]
        assert kinds == ["start", "unwound", "cleanup"]
        assert len({line.split()[1] for line in running.lines(name)}) == 1
    assert not list((tmp_path / "run").iterdir())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_a_signal_is_forwarded_and_ends_everything_in_order(tmp_path: Path, number: int) -> None:
    with Running(tmp_path, "good") as running:
        running.ready("good")
        running.signal(number)
        name = signal.Signals(number).name
        running.wait_for(rf"module good: ready -> stopping \({name}\)")
        assert running.wait() == 0
        assert [line.split()[0] for line in running.lines("good")] == [
            "start",
            "unwound",
            "cleanup",
        ]


def test_a_killed_module_is_cleaned_up_after_and_comes_back(tmp_path: Path) -> None:
    with Running(tmp_path, "good") as running:
        running.ready("good")
        old = running.module("good")["pid"]
        os.kill(old, signal.SIGKILL)
        running.wait_for(r"good: ready -> crashed \(killed by SIGKILL\)")
        running.ready("good")
        module = running.module("good")
        assert module["pid"] != old
        assert module["restarts"] == 1
        assert module["last_exit"]["signal"] == "SIGKILL"
        running.signal(signal.SIGTERM)
        assert running.wait() == 0
        lines = [line.split() for line in running.lines("good")]
        assert [kind for kind, _ in lines] == ["start", "cleanup", "start", "unwound", "cleanup"]
        cleaner = lines[1][1]
        assert cleaner not in {str(old), str(module["pid"])}


def test_an_exception_is_told_with_its_traceback(tmp_path: Path) -> None:
    sets = ("modules.raising.supervision.max_restarts=0",)
    with Running(tmp_path, "raising", sets=sets) as running:
        running.wait_for(r"raising: crashed -> failed \(more than 0 restarts in 600 s\)")
        module = running.module("raising")
        assert module["state"] == "failed"
        assert module["last_exit"]["reason"] == "ValueError: no such luck"
        assert "badmodules.py" in module["last_exit"]["traceback"]
        assert [line.split()[0] for line in running.lines("raising")] == ["start", "cleanup"]


def test_returning_unasked_is_a_fault(tmp_path: Path) -> None:
    sets = ("modules.returning.supervision.restart=never",)
    with Running(tmp_path, "returning", sets=sets) as running:
        running.wait_for(r"crashed \(RuntimeError: start\(\) returned before .* context\.stopped")
        running.wait_for(r"returning: crashed -> failed \(restart = \"never\"\)")


def test_cannot_start_is_not_retried(tmp_path: Path) -> None:
    with Running(tmp_path, "refusing") as running:
        running.wait_for(r"crashed -> failed \(the certificate is not for this key\)")
        assert running.module("refusing")["restarts"] == 0
        running.signal(signal.SIGTERM)
        assert running.wait() == 0


def test_a_module_that_does_not_become_ready_is_killed(tmp_path: Path) -> None:
    sets = (
        "modules.slow.supervision.start_timeout=0.2",
        "modules.slow.supervision.max_restarts=1",
    )
    with Running(tmp_path, "slow", sets=sets) as running:
        running.wait_for(
            r"starting -> crashed \(did not become ready within 0.2 s: did start\(\) call "
            r"context\.ready\(\)\?"
        )
        running.wait_for("slow: crashed -> failed")


def test_a_module_that_ignores_the_signal_is_killed_after_its_time(tmp_path: Path) -> None:
    sets = ("modules.deaf.supervision.stop_timeout=1.5",)  # so long the cleanup may take, too
    with Running(tmp_path, "deaf", "good", sets=sets) as running:
        running.ready("deaf", "good")
        running.signal(signal.SIGTERM)
        running.wait_for("module deaf did not stop within 1.5 s: killing it")
        assert running.wait() == 0
        assert [line.split()[0] for line in running.lines("deaf")] == ["start", "cleanup"]
        assert [line.split()[0] for line in running.lines("good")] == [
            "start",
            "unwound",
            "cleanup",
        ]


def test_what_a_module_started_ends_with_it(tmp_path: Path) -> None:
    with Running(tmp_path, "parent") as running:
        running.ready("parent")
        child = psutil.Process(running.module("parent")["details"]["child"])
        os.kill(running.module("parent")["pid"], signal.SIGKILL)
        running.ready("parent")
        assert psutil.wait_procs([child], timeout=10)[1] == []


def test_no_module_outlives_a_killed_supervisor(tmp_path: Path) -> None:
    sets = ("modules.deaf.supervision.stop_timeout=0.3",)
    with Running(tmp_path, "good", "deaf", sets=sets) as running:
        running.ready("good", "deaf")
        modules = [module for module in running.status()["modules"] if module["pid"]]
        processes = [psutil.Process(module["pid"]) for module in modules]
        running.process.kill()
        assert psutil.wait_procs(processes, timeout=15)[1] == []
        assert running.lines("good")[-1].startswith("cleanup")
    with Running(tmp_path, "good") as again:
        again.ready("good")


def test_connections_wait_while_their_module_restarts(tmp_path: Path) -> None:
    with Running(tmp_path, "listening") as running:
        running.ready("listening")
        module = running.module("listening")
        host, port = module["details"]["listen"]["echo"].split(":")
        suspend(module["pid"])
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            os.kill(module["pid"], signal.SIGKILL)
            answered = int(connection.recv(100))
        running.ready("listening")
        assert answered == running.module("listening")["pid"] != module["pid"]


def test_a_second_cloudcore_in_the_same_place_is_refused(tmp_path: Path) -> None:
    with Running(tmp_path, "good") as running:
        running.ready("good")
        with Running(tmp_path, "good") as second:
            second.wait_for(rf"another cloudcore \(process {running.process.pid}\) uses")
            assert second.process.wait(10) == 1
            second.process.returncode = 1
        assert running.module("good")["state"] == "ready"


@pytest.mark.parametrize("preload", [True, False])
def test_what_modules_name_is_imported_before_they_are_forked(
    tmp_path: Path, preload: bool
) -> None:
    with Running(
        tmp_path, "heavy", sets=(f"supervisor.preload={str(preload).lower()}",)
    ) as running:
        running.ready("heavy")
        details = running.module("heavy")["details"]
        assert (details["imported_by"] == running.process.pid) is preload
        assert details["pid"] != running.process.pid
        assert details["collects"]
        assert ("module heavy: cannot preload tests.support.nowhere" in running.log) is preload


def test_a_module_is_started_before_what_the_next_one_needs_is_imported(tmp_path: Path) -> None:
    with Running(tmp_path, "good", "heavy") as running:
        running.ready("heavy")
        started = running.log.index("module good: stopped -> starting")
        assert started < running.log.index("module heavy: cannot preload tests.support.nowhere")
