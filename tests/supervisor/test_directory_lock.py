"""Directories that are held by a lock."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from supervisor.host.directory_lock import Held
from supervisor.host.paths import PathError

DAYS = 24 * 3600


def test_a_directory_is_held_once_and_the_holder_is_named(tmp_path: Path) -> None:
    held = Held(tmp_path, "--data-dir")
    with pytest.raises(PathError, match=rf"another cloudcore \(process {os.getpid()}\) uses"):
        Held(tmp_path, "--data-dir")
    held.close()
    Held(tmp_path, "--data-dir").close()


def test_a_directory_held_by_another_process_is_refused(tmp_path: Path) -> None:
    text = f"from pathlib import Path; held = Held(Path({str(tmp_path)!r}), '')"
    code = f"from supervisor.host.directory_lock import Held; {text}; print(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout
        other.stdout.readline()
        with pytest.raises(PathError, match=rf"process {other.pid}\) .* another --run-dir"):
            Held(tmp_path, "--run-dir")
        other.communicate(b"\n", timeout=20)
    Held(tmp_path, "--run-dir").close()


def test_a_holder_that_cannot_be_seen_is_still_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("supervisor.host.directory_lock._lockers", lambda _: iter([0, -1]))
    held = Held(tmp_path, "--run-dir")
    with pytest.raises(PathError, match=r"^another cloudcore uses"):
        Held(tmp_path, "--run-dir")
    held.close()


def test_a_file_system_without_locks_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(9, "Bad file descriptor")

    monkeypatch.setattr(fcntl, "flock", refuse)
    Held(tmp_path, "--run-dir").close()
    assert (
        f"cannot lock {tmp_path}: Bad file descriptor; make sure that no other cloudcore uses it"
        in caplog.text
    )


def test_a_lock_knows_whether_its_path_still_leads_to_the_directory(tmp_path: Path) -> None:
    directory = tmp_path / "run"
    directory.mkdir()
    held = Held(directory, "--run-dir")
    assert held.intact
    directory.rmdir()
    assert not held.intact
    directory.mkdir()
    assert not held.intact
    held.close()


@pytest.mark.skipif(
    not shutil.which("systemd-tmpfiles") or os.geteuid() != 0, reason="needs systemd-tmpfiles"
)
def test_systemd_tmpfiles_leaves_a_locked_directory_alone(tmp_path: Path) -> None:
    old = time.time() - 10 * DAYS
    for name in ("held", "free"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").touch()
        for path in (tmp_path / name / "file", tmp_path / name):
            os.utime(path, (old, old))
    (tmp_path / "clean.conf").write_text(f"d {tmp_path} 0700 - - m:1d\n")
    held = Held(tmp_path / "held", "--run-dir")
    command = ["systemd-tmpfiles", "--clean", str(tmp_path / "clean.conf")]
    subprocess.run(command, check=True, timeout=20)
    held.close()
    assert (tmp_path / "held" / "file").exists()
    assert not (tmp_path / "free" / "file").exists()
