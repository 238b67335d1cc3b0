"""Faults of what is around cloudcore: it goes on, or says why it cannot."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from ipc.unix_socket import LONGEST_PATH
from supervisor import client
from supervisor.host.paths import PathError, Paths
from supervisor.run_directory import RunDirectory
from supervisor.telemetry import process_metrics
from tests.support.running import DEADLINE, Running
from tests.support.waiting import block_until


def counted(running: Running) -> float | None:
    text = client.text(running.admin_socket, "/metrics")
    found = re.search(r"^testbed_starts_total (\S+)", text, re.MULTILINE)
    return float(found[1]) if found else None


def started_with(base: Path, redirections: str) -> subprocess.Popen[bytes]:
    command = f'exec "$0" -m tests.support.testbed "$1" good {redirections}'
    return subprocess.Popen(["sh", "-c", command, sys.executable, str(base)])


@pytest.mark.parametrize(
    "redirections",
    [">&-", "2>&-", "<&- >&- 2>&-", ">/dev/full", "| true", "2>&1 >&- | true"],
)
def test_standard_streams_that_are_closed_full_or_broken(tmp_path: Path, redirections: str) -> None:
    process = started_with(tmp_path, redirections)
    socket = tmp_path / "run" / "admin.sock"
    try:
        deadline = time.monotonic() + DEADLINE
        while True:
            assert time.monotonic() < deadline
            try:
                status = client.request(socket, "GET", "/status")
            except (client.NotRunning, client.AdminError):
                os.sched_yield()
                continue
            if [m["state"] for m in status["modules"] if m["enabled"]] == ["ready"]:
                break
        good = next(module for module in status["modules"] if module["name"] == "good")
        assert good["restarts"] == 0
        os.kill(good["pid"], signal.SIGKILL)
        answer = client.request(socket, "POST", "/modules/good/restart", timeout=DEADLINE)
        assert answer["state"] == "ready"
    finally:
        client.request(socket, "POST", "/stop")
        process.wait(DEADLINE)
    assert not list((tmp_path / "run").iterdir())


def test_no_descriptors_left_for_a_new_process_is_a_crash_of_that_module_alone(
    tmp_path: Path,
) -> None:
    with Running(tmp_path, "good", "asking") as running:
        running.ready("good", "asking")
        pid = running.module("good")["pid"]
        supervisor = psutil.Process(running.process.pid)
        supervisor.rlimit(psutil.RLIMIT_NOFILE, (3, 4096))
        os.kill(pid, signal.SIGKILL)
        running.wait_for(
            r"good: starting -> crashed \(cannot start a process: .*Too many open files"
        )
        supervisor.rlimit(psutil.RLIMIT_NOFILE, (4096, 4096))
        running.ready("good")
        assert running.module("asking")["restarts"] == 0
        running.signal(signal.SIGTERM)
        assert running.wait() == 0


def remove(directory: Path) -> None:
    """Remove a directory with all in it; first of all it is gone, so that nobody adds to it."""
    shutil.rmtree(directory.rename(directory.with_name("gone")))


def test_a_run_directory_that_goes_away_is_made_again_with_all_in_it(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with Running(tmp_path, "good", "measured", sets=("supervisor.watchdog=0.8",)) as running:
        running.ready("good", "measured")
        pid = running.module("good")["pid"]
        os.kill(running.module("measured")["pid"], signal.SIGKILL)
        running.wait_for("measured: ready -> crashed")
        running.ready("measured")
        before = {path.relative_to(run) for path in run.rglob("*")}
        starts = counted(running)
        assert starts == 2
        remove(run)
        running.wait_for(r"the run directory was removed.*restored /.*/run, .*metrics")
        running.wait_for("the admin socket was removed: listening on .* again")
        assert run.stat().st_mode & 0o777 == 0o700
        assert (run / "cloudcore.pid").read_text() == f"{running.process.pid}\n"
        block_until(lambda: counted(running) == starts)
        assert {path.relative_to(run) for path in run.rglob("*")} == before
        os.kill(pid, signal.SIGKILL)
        running.wait_for("good: ready -> crashed")
        running.ready("good")
        assert running.module("good")["restarts"] == 1
        with Running(tmp_path, "good") as second:
            second.wait_for(rf"another cloudcore \(process {running.process.pid}\)")
            assert second.wait() == 1
        running.signal(signal.SIGTERM)
        assert running.wait() == 0
    assert not list(run.iterdir())


def test_a_module_that_dies_before_the_run_directory_is_made_again(tmp_path: Path) -> None:
    with Running(tmp_path, "good", "measured", env={"TESTBED_LOOK": "1000"}) as running:
        running.ready("good", "measured")
        pid = running.module("measured")["pid"]
        remove(tmp_path / "run")
        os.kill(pid, signal.SIGKILL)
        running.wait_for("measured: ready -> crashed")
        running.wait_for("the run directory was removed")
        running.ready("measured")


def test_a_pid_file_that_goes_away_lets_no_second_one_in(tmp_path: Path) -> None:
    with Running(tmp_path, "good", env={"TESTBED_LOOK": "1000"}) as first:
        first.ready("good")
        (tmp_path / "run" / "cloudcore.pid").unlink()
        with Running(tmp_path, "good") as second:
            second.wait_for(rf"another cloudcore \(process {first.process.pid}\) uses .*/run")
            assert second.wait() == 1
        assert first.module("good")["restarts"] == 0


def test_two_do_not_share_a_data_directory(tmp_path: Path) -> None:
    with Running(tmp_path, "good") as first:
        first.ready("good")
        done = subprocess.run(
            [
                *(sys.executable, "-m", "supervisor", "run", "--set", "modules.enabled=[]"),
                *("--run-dir", str(tmp_path / "other"), "--data-dir", str(tmp_path)),
            ],
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=False,
        )
    assert done.returncode == 1
    holder = f"another cloudcore (process {first.process.pid}) uses {tmp_path}; "
    assert f"{holder}stop it, or choose another --data-dir" in done.stderr


def test_a_file_that_cannot_be_written_at_the_start_is_named(tmp_path: Path) -> None:
    """As on a full disk; here a directory is in the way."""
    pid_file = tmp_path / "run" / "cloudcore.pid"
    (pid_file / "in the way").mkdir(parents=True)
    pid_file.parent.chmod(0o700)
    with Running(tmp_path, "good") as running:
        running.wait_for(f"cannot use .*{pid_file}: Is a directory")
        assert running.wait() == 1


def test_one_directory_may_be_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_metrics, "kept_in", contextlib.nullcontext)
    with RunDirectory(Paths(tmp_path, tmp_path)) as held:
        held.restore()
        with pytest.raises(PathError, match="another cloudcore"):
            RunDirectory(Paths(tmp_path, tmp_path)).__enter__()


@pytest.mark.parametrize("content", ["", "{", '{"pid": "x"}'])
def test_a_damaged_run_record_leads_to_a_cleanup(tmp_path: Path, content: str) -> None:
    runs = tmp_path / "run" / "runs"
    runs.mkdir(parents=True, mode=0o700)
    (runs / "good").write_text(content)
    with Running(tmp_path, "good") as running:
        running.wait_for("module good: running the cleanup that an earlier run did not")
        running.ready("good")


def test_a_damaged_crash_report_hides_no_other(tmp_path: Path) -> None:
    with Running(tmp_path, "good") as running:
        running.ready("good")
        os.kill(running.module("good")["pid"], signal.SIGKILL)
        running.wait_for("good: ready -> crashed")
        running.ready("good")
        (tmp_path / "crashes" / "00-damaged.json").write_text("{")
        done = running.cli("crashes")
        assert "good-" in done.stdout
        running.wait_for("cannot read the crash report .*00-damaged.json")
        assert len(client.request(running.admin_socket, "GET", "/crashes")) == 1


def test_two_at_once_in_one_place_and_only_one_runs(tmp_path: Path) -> None:
    with Running(tmp_path, "good") as first:
        first.ready("good")
        with Running(tmp_path, "good") as second, Running(tmp_path, "good") as third:
            for each in (second, third):
                each.wait_for("another cloudcore")
                assert each.process.wait(DEADLINE) == 1
        assert first.module("good")["state"] == "ready"


def test_a_unit_whose_task_fails_shuts_everything_down(tmp_path: Path) -> None:
    """A bug, as nothing else leads to it: the note of its life is not the supervisor's file."""
    with Running(tmp_path, "good", "asking") as running:
        running.ready("good", "asking")
        pid = running.module("good")["pid"]
        note = tmp_path / "run" / "runs" / "good"
        note.unlink()
        note.mkdir()
        os.kill(pid, signal.SIGKILL)
        running.wait_for("a bug in the supervisor: unit good ended")
        assert running.wait() == 70
        assert running.lines("asking")[-1].startswith("cleanup")


def test_every_sockets_path_is_checked_before_anything_starts(tmp_path: Path) -> None:
    """The supervisor's own would fit here, and the one that a module makes does not."""
    room = LONGEST_PATH - len(str(tmp_path / "run" / "admin.sock"))
    base = tmp_path / ("e" * (room - 1))
    base.mkdir()
    with Running(base, "good", "listening") as running:
        said = running.wait_for("module listening: .*").group()
        assert running.wait() == 1
        running.listen(DEADLINE)
    assert "listening.sock is" in said
    assert f"may have at most {LONGEST_PATH}" in said
    assert "--run-dir" in said
    assert "Errno" not in running.log
    assert "module good" not in running.log
