"""SIGKILL of the supervisor, with modules that are in no state to stop by themselves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import psutil
import pytest

from supervisor import client
from tests.support.running import Running

#: Soon for a module that never stops, and enough for its cleanup on a slow machine.
DEAF, SEIZED = (f"modules.{name}.supervision.stop_timeout=1.5" for name in ("deaf", "seized"))


def kinds(running: Running, module: str) -> list[str]:
    return [line.split()[0] for line in running.lines(module)]


def kill_supervisor(running: Running, *modules: str) -> list[psutil.Process]:
    processes = [psutil.Process(running.module(name)["pid"]) for name in modules]
    running.process.kill()
    running.process.wait(20)
    return processes


def test_a_deaf_module_is_killed_and_cleaned_up_after(tmp_path: Path) -> None:
    with Running(tmp_path, "deaf", "good", sets=(DEAF,)) as running:
        running.ready("deaf", "good")
        processes = kill_supervisor(running, "deaf", "good")
        assert psutil.wait_procs(processes, timeout=15)[1] == []
    with Running(tmp_path, "good") as again:
        again.ready("good")
        assert kinds(again, "deaf") == ["start", "cleanup"]
        assert kinds(again, "good") == ["start", "unwound", "cleanup", "start"]
        assert "running the cleanup that an earlier run did not" not in again.log


def test_the_state_is_starting_while_leftover_processes_stop(tmp_path: Path) -> None:
    left = subprocess.Popen(["sleep", "60"], process_group=0)
    runs = tmp_path / "run" / "runs"
    runs.mkdir(parents=True)
    stat = Path(f"/proc/{left.pid}/stat").read_text().rpartition(")")[2].split()
    (runs / "good").write_text(json.dumps({"pid": left.pid, "started": int(stat[19])}))
    try:
        with Running(tmp_path, "good") as running:
            running.wait_for(f"process {left.pid} of module good still runs")
            assert running.status()["state"] == "starting"
            assert running.cli("status").returncode == 1
            with pytest.raises(client.AdminError, match="status 503"):
                client.text(running.admin_socket, "/readyz")
            left.kill()
            left.wait()
            running.ready("good")
            assert running.status()["state"] == "running"
            assert client.text(running.admin_socket, "/readyz") == "ok"
    finally:
        left.kill()
        left.wait()


def test_a_process_that_does_not_stop_is_killed_by_the_next_run(tmp_path: Path) -> None:
    with Running(tmp_path, "seized", "good", sets=(SEIZED,)) as running:
        running.ready("seized", "good")
        port = running.module("seized")["details"]["listen"]["echo"].rpartition(":")[2]
        (process,) = kill_supervisor(running, "seized")
        sets = (f"modules.seized.port={port}", "supervisor.shutdown_timeout=0.5")
        with Running(tmp_path, "seized", "good", sets=(SEIZED, *sets)) as again:
            again.wait_for(f"process {process.pid} of module seized still runs")
            again.wait_for(f"process {process.pid} did not exit in time: killing it")
            again.wait_for("module seized: running the cleanup that an earlier run did not")
            again.ready("seized", "good")
            assert kinds(again, "seized") == ["cleanup"]
            again.post("/modules/seized/stop")
            again.signal(signal.SIGTERM)
            assert again.wait() == 0
            assert not list((tmp_path / "run").iterdir())


def test_what_a_module_had_started_ends_with_it(tmp_path: Path) -> None:
    with Running(tmp_path, "parent") as running:
        running.ready("parent")
        child = psutil.Process(running.module("parent")["details"]["child"])
        kill_supervisor(running, "parent")
        assert psutil.wait_procs([child], timeout=15)[1] == []


def test_a_run_record_with_a_reused_pid_stops_no_process(tmp_path: Path) -> None:
    """A process id in a stale file may be anybody's by now."""
    runs = tmp_path / "run" / "runs"
    runs.mkdir(parents=True, mode=0o700)
    (runs / "good").write_text(f'{{"pid": {os.getpid()}, "started": 1}}')
    with Running(tmp_path, "good") as running:
        running.wait_for("module good: running the cleanup that an earlier run did not")
        running.ready("good")
        assert "still runs" not in running.log
        assert kinds(running, "good") == ["cleanup", "start"]
