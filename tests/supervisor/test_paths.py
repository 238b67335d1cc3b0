"""Which directories are used, and which are refused."""

import os
from pathlib import Path

import pytest

from supervisor.host.paths import PathError, Paths, check_owner, check_socket_length, resolve


@pytest.mark.parametrize(
    ("uid", "environ", "run_dir", "data_dir"),
    [
        (0, {}, "/run/cloudcore", "/var/lib/cloudcore"),
        (
            0,
            {"XDG_RUNTIME_DIR": "/run/user/0", "XDG_STATE_HOME": "/state"},
            "/run/cloudcore",
            "/var/lib/cloudcore",
        ),
        (
            1000,
            {"XDG_RUNTIME_DIR": "/run/user/1000", "XDG_STATE_HOME": "/state"},
            "/run/user/1000/cloudcore",
            "/state/cloudcore",
        ),
        (1000, {}, "/tmp/cloudcore-1000", "~/.local/state/cloudcore"),
        (
            1000,
            {"XDG_RUNTIME_DIR": "relative", "XDG_STATE_HOME": ""},
            "/tmp/cloudcore-1000",
            "~/.local/state/cloudcore",
        ),
    ],
)
def test_the_defaults(uid: int, environ: dict[str, str], run_dir: str, data_dir: str) -> None:
    found = resolve(environ=environ, uid=uid)
    assert found == Paths(Path(run_dir), Path(data_dir).expanduser())


def test_given_directories_win_and_become_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = resolve("run", "data", environ={}, uid=0)
    assert found == Paths(tmp_path / "run", tmp_path / "data")
    assert found.admin_socket == tmp_path / "run" / "admin.sock"
    assert found.kubeconfig == tmp_path / "data" / "kubeconfig"


def test_both_directories_are_made_private(tmp_path: Path) -> None:
    paths = Paths(tmp_path / "a" / "run", tmp_path / "b" / "data")
    paths.create()
    paths.create()
    assert paths.run_dir.stat().st_mode & 0o777 == 0o700
    assert paths.data_dir.stat().st_mode & 0o777 == 0o700


def test_a_file_in_the_way_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(PathError, match=r"cannot create the directory .*file"):
        Paths(tmp_path / "file", tmp_path / "data").create()


def test_a_socket_path_that_is_too_long_is_told_before_anything_is_made(tmp_path: Path) -> None:
    run_dir = tmp_path / ("x" * 100)
    with pytest.raises(PathError, match="choose a shorter --run-dir"):
        Paths(run_dir, tmp_path / "data").create()
    assert not run_dir.exists()
    check_socket_length(Path("/" + "x" * 106))
    with pytest.raises(PathError):
        check_socket_length(Path("/" + "x" * 107))


@pytest.fixture
def ordinary_user(monkeypatch: pytest.MonkeyPatch) -> int:
    uid = os.geteuid() or 4711
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    return uid


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_another_users_directory_is_refused(tmp_path: Path, ordinary_user: int) -> None:
    os.chown(tmp_path, ordinary_user + 1, -1)
    with pytest.raises(PathError, match=f"belongs to user {ordinary_user + 1}"):
        check_owner(tmp_path, "--data-dir")


def test_a_directory_that_others_can_write_is_refused(tmp_path: Path, ordinary_user: int) -> None:
    os.chown(tmp_path, ordinary_user, -1)
    check_owner(tmp_path, "--data-dir")
    tmp_path.chmod(0o777)
    with pytest.raises(PathError, match="other users can write to it"):
        check_owner(tmp_path, "--data-dir")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_root_uses_nobody_elses_directories_and_may_look_into_them(tmp_path: Path) -> None:
    paths = Paths(tmp_path / "run", tmp_path / "data")
    for directory, option in ((paths.run_dir, "--run-dir"), (paths.data_dir, "--data-dir")):
        paths.create()
        os.chown(directory, 4711, -1)
        with pytest.raises(PathError, match=rf"{directory}: it belongs to user 4711.*{option}"):
            paths.create()
        check_owner(directory, option, root_may=True)
        os.chown(directory, 0, -1)
        directory.chmod(0o770)
        with pytest.raises(PathError, match=rf"{directory}: other users can write to it.*{option}"):
            paths.create()
        directory.chmod(0o755)


def test_a_symbolic_link_in_tmp_is_refused(tmp_path: Path) -> None:
    link = Path(f"/tmp/cloudcore-test-{os.getpid()}")
    link.symlink_to(tmp_path)
    try:
        with pytest.raises(PathError, match="symbolic link"):
            check_owner(link, "--run-dir")
    finally:
        link.unlink()
