"""What is only told ends nothing, whatever is in it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import pytest

from supervisor import banner, client
from supervisor.admin.http import Answer
from supervisor.host.paths import Paths
from supervisor.host.systemd import Systemd
from supervisor.telemetry.crash_reports import CrashReport, CrashReports
from supervisor.telemetry.escaping import to_json
from supervisor.telemetry.state_changes import StateChange, StateChangeLog
from supervisor.unit.context import SupervisedContext
from supervisor.unit.shared_state import LastWords, SharedState
from tests.support.running import DEADLINE, Running

#: As Python has a file name of the bytes caf, e9: Latin-1, not UTF-8.
NAME = os.fsdecode(b"caf\xe9")


def test_a_name_that_is_not_utf_8_is_escaped_in_json() -> None:
    event = StateChange(1, 0.0, "good", "a", "b", f"cannot read {NAME}", None)
    assert json.loads(to_json(event))["reason"] == "cannot read caf\\udce9"
    assert json.loads(to_json({NAME: [NAME, 1, None, {"a": NAME}]})) == {
        "caf\\udce9": ["caf\\udce9", 1, None, {"a": "caf\\udce9"}]
    }
    assert json.loads(Answer({"error": NAME}).encoded()[1]) == {"error": "caf\\udce9"}
    assert Answer(NAME).encoded()[1] == b"caf\\udce9"
    with pytest.raises(TypeError):
        to_json(object())


def test_shared_state_escapes_names_and_survives_overwritten_memory(monkeypatch: object) -> None:
    shared_state = SharedState()
    shared_state.report_details({"path": NAME})
    assert shared_state.details() == {"path": "caf\\udce9"}
    shared_state.report_last_words(LastWords(NAME))
    memory = shared_state._memory
    for place in (memory.find(b"caf", at) for at in (0, 2 * 64 * 1024)):
        memory[place : place + 1] = b"\xff"
    assert shared_state.details() == {}
    assert shared_state.last_words() is None
    shared_state.close()


async def test_a_report_that_cannot_be_told_is_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    shared_state = SharedState()
    context = SupervisedContext.__new__(SupervisedContext)
    context._set_up(shared_state, {})
    context.report(good=1)
    for _ in range(2):
        context.report(wrong=object())
    assert caplog.text.count("cannot report the details of this module") == 1
    context.report(wrong=2)
    assert shared_state.details() == {"good": 1, "wrong": 2}
    shared_state.close()


def test_a_crash_report_with_a_name_that_is_not_utf_8_is_written(tmp_path: Path) -> None:
    report = CrashReport(
        id="1",
        module="good",
        at=0.0,
        pid=1,
        uptime_seconds=0.0,
        state="ready",
        reason=NAME,
        code=1,
        signal=None,
        oom_killed=False,
        traceback=NAME,
        in_hand=[],
        stderr=[NAME],
    )
    reports = CrashReports(tmp_path, 10)
    reports.put(report)
    assert reports.get("1").reason == "caf\\udce9"
    (tmp_path / "2.json").write_bytes(b'{"id": "\xff"}')
    assert len(reports.reports()) == 1


async def test_a_follower_that_fails_does_not_end_who_tells(
    caplog: pytest.LogCaptureFixture,
) -> None:
    events, heard = StateChangeLog(), []

    def fail(event: StateChange) -> None:
        raise ZeroDivisionError

    events.followers += [fail, heard.append]
    waiting = asyncio.create_task(events.until(lambda: 1 // len(heard) == 1))
    await asyncio.sleep(0)
    events.add("good", "a", "b", "", None)
    assert len(heard) == 1
    assert "a follower of state changes failed" in caplog.text
    with pytest.raises(ZeroDivisionError):
        await waiting


def test_a_banner_that_fails_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        paths = Paths(Path("/run"), Path("/data"))

        def status(self) -> object:
            raise ZeroDivisionError

    banner.show(Broken())  # type: ignore[arg-type]
    assert "cannot print the banner" in caplog.text


def test_the_banner_has_the_bytes_of_a_path(
    monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    monkeypatch.setattr(banner.status, "render", lambda _: {})
    monkeypatch.setattr(banner, "render", lambda *_: f"status --run-dir {NAME}")
    banner.show(Mock(units={}))
    assert capfdbinary.readouterr().out == b"status --run-dir caf\xe9\n"


def test_systemd_is_told_of_anything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
    systemd = Systemd()
    systemd.status(NAME)
    systemd._socket.close()


def test_directories_whose_names_are_not_utf_8(tmp_path: Path) -> None:
    base = tmp_path / NAME
    base.mkdir()
    with Running(base, "good", "refusing", env={"PYTHONUTF8": "0", "LC_ALL": "C"}) as running:
        running.ready("good")
        running.wait_for("refusing: crashed -> failed")
        os.kill(running.module("good")["pid"], signal.SIGKILL)
        running.wait_for("good: ready -> crashed")
        running.ready("good")
        assert "cloudcore_module_ready" in client.text(running.admin_socket, "/metrics")
        for command in (("status",), ("crashes",), ("events",), ("logs",), ("config", "show")):
            done = subprocess.run(
                [sys.executable, "-m", "supervisor", *command, *running.directories],
                capture_output=True,
                timeout=DEADLINE,
                check=False,
            )
            assert b"Traceback" not in done.stderr, command
        running.signal(signal.SIGTERM)
        assert running.wait() == 0
