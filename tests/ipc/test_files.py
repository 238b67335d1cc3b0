"""Replacing files: atomic, with the right mode, and never through a link."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

import pytest

from ipc import files
from ipc.files import PUBLIC, in_words, locked, open_lock, replace_file, replacing

PACKAGES = ("ipc", "supervisor", "modules")
ROOT = Path(__file__).parents[2]
#: ipc/files.py itself; the log of a demo, in a temporary directory of its own.
WRITERS = {"ipc/files.py", "modules/hollow/demo/harness.py"}
WRITES = re.compile(
    r"O_CREAT|write_text|write_bytes|mkstemp|os\.replace\(|open\(\s*\"[wax]|\"[rwa]b?\+"
)


def test_a_file_is_replaced_with_the_mode_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "edge.key"
    old_umask = os.umask(0o077)
    try:
        replace_file(path, b"old", PUBLIC)
        assert stat.S_IMODE(path.stat().st_mode) == 0o644
        replace_file(path, b"new")
    finally:
        os.umask(old_umask)
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_the_mode_is_right_before_the_first_byte(tmp_path: Path) -> None:
    old_umask = os.umask(0)
    try:
        with replacing(tmp_path / "edge.key") as file:
            (temporary,) = tmp_path.iterdir()
            assert stat.S_IMODE(temporary.stat().st_mode) == 0o600
            file.write(b"PRIVATE")
    finally:
        os.umask(old_umask)


def test_what_somebody_has_prepared_is_neither_written_to_nor_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even if the name of the temporary file were predictable."""
    monkeypatch.setattr(files.secrets, "token_hex", lambda _: "known")
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    planted = tmp_path / ".known.tmp"
    planted.symlink_to(victim)
    with pytest.raises(FileExistsError):
        replace_file(tmp_path / "edge.key", b"PRIVATE")
    planted.unlink()
    planted.touch()
    with pytest.raises(FileExistsError):
        replace_file(tmp_path / "edge.key", b"PRIVATE")
    assert victim.read_bytes() == b"precious"
    assert planted.read_bytes() == b""


def test_temporary_names_are_not_repeated(tmp_path: Path) -> None:
    names = set()
    for _ in range(3):
        with replacing(tmp_path / "edge.key"):
            names.update(path.name for path in tmp_path.glob(".*"))
    assert len(names) == 3


def test_a_link_in_the_files_place_is_replaced(tmp_path: Path) -> None:
    victim, path = tmp_path / "victim", tmp_path / "edge.key"
    victim.write_bytes(b"precious")
    path.symlink_to(victim)
    replace_file(path, b"PRIVATE")
    assert victim.read_bytes() == b"precious"
    assert not path.is_symlink()
    assert path.read_bytes() == b"PRIVATE"


def test_a_failure_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(ZeroDivisionError), replacing(path) as file:
        file.write(b"half")
        raise ZeroDivisionError
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_error_of_a_file_that_cannot_be_replaced_names_it(tmp_path: Path) -> None:
    (tmp_path / "file").mkdir()
    for path in (tmp_path / "missing" / "file", tmp_path / "file"):
        with pytest.raises(OSError, match=r".") as raised:
            replace_file(path, b"new")
        assert in_words(raised.value) == f"cannot use {path}: {raised.value.strerror}"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_lock_is_private_and_follows_no_link(tmp_path: Path) -> None:
    lock = tmp_path / ".lock"
    with locked(lock):
        assert stat.S_IMODE(lock.stat().st_mode) == 0o600
    lock.unlink()
    lock.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        open_lock(lock)
    assert not (tmp_path / "elsewhere").exists()


def test_nobody_writes_files_in_a_way_of_his_own() -> None:
    writers = {
        file.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for file in (ROOT / package).rglob("*.py")
        if WRITES.search(file.read_text())
    }
    assert writers == WRITERS
