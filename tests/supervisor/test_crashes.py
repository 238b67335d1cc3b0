"""What is kept of a death."""

from __future__ import annotations

import calendar
import errno
import json
import os
import re
import signal
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from supervisor.api import Settings
from supervisor.host.oom import OomKills
from supervisor.telemetry import crash_reports
from supervisor.telemetry.crash_reports import CrashReport, CrashReports, UnknownReport
from supervisor.telemetry.output import Recent
from supervisor.unit import post_mortem
from supervisor.unit.shared_state import SharedState
from tests.support.running import Running


def report(reports: CrashReports, module: str = "m", **changes: object) -> CrashReport:
    fields = {
        "id": "some",
        "module": module,
        "at": 1.0,
        "pid": 1,
        "uptime_seconds": 2.0,
        "state": "ready",
        "reason": "why",
        "code": 1,
        "signal": None,
        "oom_killed": False,
        "traceback": "",
        "in_hand": [],
        "stderr": [],
    }
    made = CrashReport(**(fields | changes))  # type: ignore[arg-type]
    reports.put(made)
    return made


def test_reports_can_be_listed_and_read(tmp_path: Path) -> None:
    reports = CrashReports(tmp_path / "crashes", keep=10)
    first, second = report(reports, id="1-a"), report(reports, "other", id="2-b")
    assert reports.reports() == [first, second]
    assert reports.reports("other") == [second]
    assert reports.get("2-b") == second
    assert (tmp_path / "crashes").stat().st_mode & 0o777 == 0o700
    with pytest.raises(UnknownReport, match="no crash report '../x'"):
        reports.get("../x")


def test_only_the_newest_are_kept(tmp_path: Path) -> None:
    reports = CrashReports(tmp_path, keep=3)
    for number in range(5):
        report(reports, id=f"{number}")
    assert [each.id for each in reports.reports()] == ["2", "3", "4"]


def test_reports_of_a_clock_that_was_ahead_are_the_oldest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reports = CrashReports(tmp_path, keep=3)
    for number in range(3):
        report(reports, id=f"20261201T10000{number}-000-m-1")
    now = calendar.timegm((2026, 11, 29, 10, 0, 0))
    monkeypatch.setattr(time, "time", lambda: float(now))
    for number in range(2):
        report(reports, id=f"20261129T09000{number}-000-m-1")
    kept = [f"2026{each}-000-m-1" for each in ("1201T100002", "1129T090000", "1129T090001")]
    assert [each.id for each in reports.reports()] == kept


def test_what_a_full_disk_does_not_take_is_kept_and_written_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(tmp_path))

    reports = CrashReports(tmp_path, keep=3)
    with monkeypatch.context() as patch:
        patch.setattr(crash_reports, "replace_file", full)
        for number in range(5):
            report(reports, id=f"{number}")
        assert list(tmp_path.iterdir()) == []
        assert [each.id for each in reports.reports("m")] == ["2", "3", "4"]
        assert reports.get("3").id == "3"
        (said,) = caplog.messages  # once, not for each
        assert said.startswith("cannot write crash reports")
        assert reports.write_rest() is not None
    assert reports.write_rest() is None
    assert [each.id for each in CrashReports(tmp_path, keep=3).reports()] == ["2", "3", "4"]
    assert [each.id for each in reports.reports()] == ["2", "3", "4"]


@pytest.mark.parametrize(
    ("code", "full", "ended", "temporary", "reason"),
    [
        (75, False, "", True, "exit status 75"),
        (75, False, "hung", False, "hung"),  # what the supervisor has ended did not end for it
        (1, True, "", False, "exit status 1"),
        (-signal.SIGBUS, True, "", True, "killed by SIGBUS: disk full: cannot write to "),
        (-signal.SIGBUS, False, "", False, "killed by SIGBUS"),
    ],
)
async def test_a_death_for_want_of_space_is_temporary(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    code: int,
    full: bool,
    ended: str,
    temporary: bool,
    reason: str,
) -> None:
    shared_state = SharedState()
    process: Any = SimpleNamespace(shared_state=shared_state, pid=1, started=0.0)
    mailbox: Any = SimpleNamespace(inbox=SimpleNamespace(in_flight=list))
    module: Any = SimpleNamespace(settings=Settings(tmp_path, tmp_path))
    output: Any = SimpleNamespace(recent=Recent())
    unit: Any = SimpleNamespace(
        name="m", module=module, mailbox=mailbox, output=output, state="ready"
    )
    monkeypatch.setattr(post_mortem, "full_directory", lambda *_: tmp_path if full else None)
    made = post_mortem.describe(unit, process, code, ended, oom_killed=False, since=0)
    assert made.temporary is temporary
    assert made.reason.startswith(reason)
    shared_state.close()


def test_a_fatal_signal_leaves_stacks_and_the_last_200_lines(tmp_path: Path) -> None:
    sets = ("modules.segfaulting.supervision.max_restarts=0",)
    with Running(tmp_path, "segfaulting", sets=sets) as running:
        running.wait_for("segfaulting: crashed -> failed")
        found = json.loads(running.cli("crashes", "--last", "-o", "json").stdout)[0]
        assert found["module"] == "segfaulting"
        assert (found["signal"], found["code"]) == ("SIGSEGV", None)
        assert found["reason"] == "killed by SIGSEGV"
        assert found["state"] == "ready"
        assert found["uptime_seconds"] > 0
        assert len(found["stderr"]) == 200
        lines = [line for line in found["stderr"] if line.startswith("line ")]
        assert lines[-1] == "line 299"
        assert any("Fatal Python error: Segmentation fault" in line for line in found["stderr"])
        assert any("badmodules.py" in line for line in found["stderr"])
        assert running.module("segfaulting")["last_exit"]["report"] == found["id"]


def test_an_exception_leaves_its_traceback_and_no_lines_of_others(tmp_path: Path) -> None:
    sets = ("modules.raising.supervision.max_restarts=1",)
    with Running(tmp_path, "raising", sets=sets) as running:
        running.wait_for("raising: crashed -> failed")
        first, second = json.loads(running.cli("crashes", "raising", "-o", "json").stdout)
        assert first["pid"] != second["pid"]
        for each in (first, second):
            assert each["reason"] == "ValueError: no such luck"
            assert "no such luck" in each["traceback"]
            assert each["code"] == 70
            assert sum("ValueError:" in line for line in each["stderr"]) == 1


def test_a_kill_is_reported_and_an_orderly_stop_is_not(tmp_path: Path) -> None:
    with Running(tmp_path, "good") as running:
        running.ready("good")
        os.kill(running.module("good")["pid"], signal.SIGKILL)
        running.wait_for("good: ready -> crashed")
        running.ready("good")
        running.post("/modules/good/restart")
        running.signal(signal.SIGTERM)
        assert running.wait() == 0
        found = json.loads(running.cli("crashes", "-o", "json").stdout)  # nothing runs any more
        assert [each["reason"] for each in found] == ["killed by SIGKILL"]


@pytest.mark.parametrize(("offset", "name"), [(0, "SIGRTMIN"), (3, "SIGRTMIN+3"), (30, "SIGRTMAX")])
def test_a_real_time_signal_is_a_death_like_others(tmp_path: Path, offset: int, name: str) -> None:
    with Running(tmp_path, "good") as running:
        running.ready("good")
        os.kill(running.module("good")["pid"], signal.SIGRTMIN + offset)
        running.wait_for(rf"good: ready -> crashed \(killed by {re.escape(name)}\)")
        running.ready("good")
        assert running.module("good")["last_exit"]["signal"] == name


def test_one_that_had_to_be_killed_when_it_should_stop_is_reported(tmp_path: Path) -> None:
    sets = ("modules.deaf.supervision.stop_timeout=0.3",)
    with Running(tmp_path, "deaf", sets=sets) as running:
        running.ready("deaf")
        running.cli("stop", "deaf")
        last = running.module("deaf")["last_exit"]
        assert last["reason"] == "did not stop within 0.3 s"
        assert running.module("deaf")["state"] == "stopped"


V2, V1 = "0::/a\n", "4:cpu,memory:/b\n0::/\n"


@pytest.mark.parametrize(
    ("cgroups", "counter", "before", "after"),
    [
        (V2, "sys/fs/cgroup/a/memory.events", "low 0\noom_kill 3\n", "low 0\noom_kill 4\n"),
        (V1, "sys/fs/cgroup/memory/b/memory.oom_control", "oom_kill 0\n", "oom_kill 1\n"),
        (V1, "sys/fs/cgroup/memory/memory.oom_control", "oom_kill 0\n", "oom_kill 1\n"),
        (V2, "proc/vmstat", "nr 7\noom_kill 1\n", "nr 8\noom_kill 2\n"),
    ],
)
def test_the_kernel_s_count_of_kills_for_want_of_memory(
    tmp_path: Path, cgroups: str, counter: str, before: str, after: str
) -> None:
    for name, text in (("proc/self/cgroup", cgroups), ("proc/vmstat", "oom_kill 9\n")):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    file = tmp_path / counter
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(before)
    kills = OomKills(tmp_path)
    assert not kills.happened()
    file.write_text(after)
    assert kills.happened()
    assert not kills.happened()


def test_without_any_count_nothing_is_claimed(tmp_path: Path) -> None:
    assert not OomKills(tmp_path).happened()
