"""What a module's exception means, and what is told of a condition that passes by itself."""

from __future__ import annotations

import errno
import os
import sqlite3
import time
from functools import partial
from pathlib import Path

import pytest

from supervisor import client
from supervisor.api import CannotStart, DiskFull, Settings, TemporaryFailure
from supervisor.unit import exit_reason
from tests.support.running import DEADLINE, Running


def no_space(*file: str) -> OSError:
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), *file)


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(tmp_path / "data", tmp_path / "run")


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (ValueError("7"), 70, "ValueError: 7"),
        (ExceptionGroup("sub", [ValueError("7")]), 70, "ValueError: 7"),
        (
            BaseExceptionGroup("sub", [KeyError("a"), ExceptionGroup("sub", [ValueError("7")])]),
            70,
            "KeyError: 'a'; ValueError: 7",
        ),
        (ExceptionGroup("same", [ValueError("7"), ValueError("7")]), 70, "ValueError: 7"),
        (
            ExceptionGroup("many", [ValueError(str(number)) for number in range(9)]),
            70,
            "ValueError: 0; ValueError: 1; ValueError: 2; and 6 more",
        ),
        (ExceptionGroup("sub", [CannotStart("bad key")]), 78, "bad key"),
        (ExceptionGroup("sub", [TemporaryFailure("no lease")]), 75, "no lease"),
        (no_space("/d/f"), 75, "disk full: cannot write to /d/f: No space left on device;"),
        (
            OSError(errno.EDQUOT, os.strerror(errno.EDQUOT), "/d/f"),
            75,
            "disk full: cannot write to /d/f: Disk quota exceeded;",
        ),
        (
            caused(CannotStart("no key"), no_space("/d/key")),
            75,
            "disk full: cannot write to /d/key",
        ),
        (caused(DiskFull("/d/db"), sqlite3.OperationalError("13")), 75, "cannot write to /d/db"),
        (ExceptionGroup("both", [no_space("/d/f"), ValueError("7")]), 70, "ValueError: 7"),
        (PermissionError(errno.EACCES, "no", "/d/f"), 70, "PermissionError"),
    ],
)
def test_what_an_exception_means(
    settings: Settings, error: BaseException, status: int, reason: str
) -> None:
    words = exit_reason.last_words(error, settings)
    assert words.exit_status == status
    assert reason in words.reason
    assert bool(words.traceback) is (status == 70)


def test_an_error_without_a_path_names_the_directory_that_is_full(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = os.statvfs_result((4096, 4096, 10, 0, 0, 10, 0, 0, 0, 255))

    def statvfs(directory: Path) -> os.statvfs_result:
        if directory != settings.run_dir:
            raise FileNotFoundError
        return full

    monkeypatch.setattr(os, "statvfs", statvfs)
    assert (
        f"cannot write to {settings.run_dir}: "
        in exit_reason.last_words(no_space(), settings).reason
    )


def test_a_full_disk_is_told_and_tried_again_until_there_is_room(tmp_path: Path) -> None:
    sets = ("supervisor.max_restarts=1", "supervisor.backoff_max=0.1")
    deadline = time.monotonic() + DEADLINE
    with Running(tmp_path, "crowded", "good", sets=sets) as running:
        running.wait_for("crowded: starting -> crashed")
        running.wait_for("crowded: starting -> crashed")
        while running.events("crowded").count("starting -> crashed") < 4:
            assert time.monotonic() < deadline
        module = running.module("crowded")
        path = tmp_path / "state"
        assert f"disk full: cannot write to {path}" in module["reason"]
        assert f"disk full: cannot write to {path}" in module["last_exit"]["reason"]
        with running.write(b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n") as asking:
            answer = b"".join(iter(partial(asking.recv, 65536), b"")).decode()
        assert " 503 " in answer
        assert f"disk full: cannot write to {path}" in answer
        reports = client.request(running.admin_socket, "GET", "/crashes?module=crowded")
        assert len(reports) == 1  # one for the whole outage
        assert f"disk full: cannot write to {path}" in reports[0]["reason"]
        (tmp_path / "luck").touch()
        running.ready("crowded")
        assert running.log.count("crowded: starting -> crashed") == 2  # and then not each time
        assert running.module("crowded")["reason"] == ""
