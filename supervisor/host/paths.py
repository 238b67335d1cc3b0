"""The run directory, whose files exist as long as cloudcore runs, and the data directory.

| user  | run directory                | data directory               |
|-------|------------------------------|------------------------------|
| root  | /run/cloudcore               | /var/lib/cloudcore           |
| other | $XDG_RUNTIME_DIR/cloudcore   | $XDG_STATE_HOME/cloudcore    |

Without `XDG_RUNTIME_DIR` (no login session) the run directory is /tmp/cloudcore-UID. Without
`XDG_STATE_HOME` the data directory is ~/.local/state/cloudcore, as the XDG base directory
specification says.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple


class PathError(Exception):
    """A directory cannot be used; the text says which one, why, and what to do."""


class Paths(NamedTuple):
    """The two directories, and the files in them that several parts of cloudcore use."""

    run_dir: Path
    data_dir: Path

    @property
    def admin_socket(self) -> Path:
        """The supervisor's HTTP socket, mode 0600."""
        return self.run_dir / "admin.sock"

    @property
    def crashes_dir(self) -> Path:
        """Where crash reports are kept."""
        return self.data_dir / "crashes"

    @property
    def dead_letters_dir(self) -> Path:
        """Where dead letters are kept."""
        return self.data_dir / "dead-letters"

    @property
    def metrics_dir(self) -> Path:
        """Where processes keep the values of their metrics (telemetry/process_metrics.py)."""
        return self.run_dir / "metrics"

    @property
    def kubeconfig(self) -> Path:
        """The kubeconfig of the embedded API server, which writes it, mode 0600."""
        return self.data_dir / "kubeconfig"

    def create(self) -> None:
        """Create both directories, private to this user, or check those that exist.

        Raises PathError.
        """
        check_socket_length(self.admin_socket)
        make_private(self.run_dir, "--run-dir")
        make_private(self.data_dir, "--data-dir")


def resolve(
    run_dir: str | Path | None = None,
    data_dir: str | Path | None = None,
    *,
    environ: Mapping[str, str] = os.environ,
    uid: int | None = None,
) -> Paths:
    """Return the directories to use, as absolute paths; nothing is read or written."""
    uid = os.geteuid() if uid is None else uid
    return Paths(
        run_dir=Path(run_dir).absolute() if run_dir else _default_run_dir(environ, uid),
        data_dir=Path(data_dir).absolute() if data_dir else _default_data_dir(environ, uid),
    )


def make_private(directory: Path, option: str) -> None:
    """Create a directory that only this user can use, or check one that exists.

    `option` is the command-line option that names another directory. Raises PathError.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise PathError(
            f"cannot create the directory {directory}: {error.strerror}; "
            f"choose another one with {option}"
        ) from error
    check_owner(directory, option)


def check_owner(directory: Path, option: str, *, root_may: bool = False) -> None:
    """Refuse a directory that another user could have prepared; raises PathError.

    Everybody may write to /tmp: a socket found there is trusted only if no other user can have put
    it there, and a CA only if no other user can have read or replaced it. With `root_may`, root may
    use the directory of any user.
    """
    try:
        status = directory.lstat()
    except OSError as error:
        raise PathError(f"cannot use {directory}: {error.strerror}") from error
    if stat.S_ISLNK(status.st_mode) and directory.parent == Path("/tmp"):
        raise PathError(
            f"cannot use {directory}: it is a symbolic link, which any user can make in /tmp; "
            "remove it"
        )
    status = directory.stat()
    if not stat.S_ISDIR(status.st_mode):
        raise PathError(f"cannot use {directory}: it is not a directory")
    if root_may and os.geteuid() == 0:
        return
    if status.st_uid != os.geteuid():
        raise PathError(
            f"cannot use {directory}: it belongs to user {status.st_uid}, not to {os.geteuid()}; "
            f"run as that user, or choose another directory with {option}"
        )
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise PathError(
            f"cannot use {directory}: other users can write to it; run `chmod go-w {directory}`, "
            f"or choose a directory in it with {option}"
        )


def check_socket_length(path: Path) -> None:
    """Refuse a socket path that is too long for the kernel; raises PathError."""
    from ipc.unix_socket import path_fault  # `cloudcore status` does without this import

    if fault := path_fault(path):
        raise PathError(f"{fault}; choose a shorter --run-dir")


def _default_run_dir(environ: Mapping[str, str], uid: int) -> Path:
    if uid == 0:
        return Path("/run/cloudcore")
    base = _absolute(environ, "XDG_RUNTIME_DIR")
    return base / "cloudcore" if base else Path(f"/tmp/cloudcore-{uid}")


def _default_data_dir(environ: Mapping[str, str], uid: int) -> Path:
    if uid == 0:
        return Path("/var/lib/cloudcore")
    base = _absolute(environ, "XDG_STATE_HOME")
    return (base or Path.home() / ".local" / "state") / "cloudcore"


def _absolute(environ: Mapping[str, str], variable: str) -> Path | None:
    # "If an implementation encounters a relative path … it should … ignore it" (XDG).
    path = Path(environ.get(variable, ""))
    return path if path.is_absolute() else None
