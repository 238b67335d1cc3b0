"""`cloudcore certs issue --out DIR`: what is told of DIR, and that git does not take the key."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from modules.common.pki.cli import certs as command


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


def issue(out: Path, data: Path) -> str:
    arguments = ["issue", "edge-1", "--out", str(out), "--data-dir", str(data)]
    done = CliRunner().invoke(command, arguments)
    assert done.exit_code == 0, done.output
    assert stat.S_IMODE((out / "edge.key").stat().st_mode) == 0o600
    return done.stderr


def test_nothing_is_said_of_a_directory_of_ones_own(tmp_path: Path, data: Path) -> None:
    old_umask = os.umask(0o002)
    try:
        assert issue(tmp_path / "out", data) == ""
        assert issue(tmp_path / "out", data) == ""
    finally:
        os.umask(old_umask)
    assert not (tmp_path / "out" / ".gitignore").exists()


@pytest.mark.parametrize("mode", [0o770, 0o777, 0o1777])
def test_others_who_may_write_are_told(tmp_path: Path, data: Path, mode: int) -> None:
    tmp_path.chmod(mode)
    assert f"others can write to {tmp_path}" in issue(tmp_path, data)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_another_owner_is_told_and_gets_no_key(tmp_path: Path, data: Path) -> None:
    os.chown(tmp_path, 65534, 65534)
    assert "belongs to user 65534" in issue(tmp_path, data)
    assert (tmp_path / "edge.key").stat().st_uid == 0


@pytest.mark.skipif(not shutil.which("git"), reason="needs git")
def test_git_does_not_take_the_key(tmp_path: Path, data: Path) -> None:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True, timeout=20)
    out = tmp_path / "nodes" / "edge-1"
    assert f"{out}/.gitignore keeps it out of git" in issue(out, data)
    assert issue(out, data) == ""
    subprocess.run(["git", "-C", str(tmp_path), "add", "-A"], check=True, timeout=20)
    listed = subprocess.run(
        ["git", "-C", str(tmp_path), "ls-files"],
        capture_output=True,
        text=True,
        check=True,
        timeout=20,
    )
    assert "nodes/edge-1/edge.crt" in listed.stdout
    assert "edge.key" not in listed.stdout


def test_a_gitignore_of_somebody_else_stays(tmp_path: Path, data: Path) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / ".gitignore").write_text("build/\n")
    assert f"add edge.key to {tmp_path}/.gitignore" in issue(tmp_path, data)
    assert (tmp_path / ".gitignore").read_text() == "build/\n"
    (tmp_path / ".gitignore").write_text("build/\n*.key\n")
    assert issue(tmp_path, data) == ""
