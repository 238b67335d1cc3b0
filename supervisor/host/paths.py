"""The run directory, whose files last as long as cloudcore runs, and the data directory.

| user  | run directory                | data directory               |
|-------|------------------------------|------------------------------|
| root  | /run/cloudcore               | /var/lib/cloudcore           |
| other | $XDG_RUNTIME_DIR/cloudcore   | $XDG_STATE_HOME/cloudcore    |

Without `XDG_RUNTIME_DIR` (no login session) it is /tmp/cloudcore-UID, and without
`XDG_STATE_HOME` it is ~/.local/state/cloudcore, as the XDG base directory specification has it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


class PathError(Exception):
    """A directory cannot be used as it is; the text says which, why and what to do."""


@dataclass(frozen=True)
class Paths:
    """The two directories and the files in them that more than one part of cloudcore knows."""

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
        """Where messages that were set aside are kept."""
        return self.data_dir / "dead-letters"

    @property
    def metrics_dir(self) -> Path:
        """Where processes keep the values of their metrics (telemetry/process_metrics.py)."""
        return self.run_dir / "metrics"

    @property
    def kubeconfig(self) -> Path:
        """Access to the embedded API server, written by it, mode 0600."""
        return self.data_dir / "kubeconfig"

    def create(self) -> None:
        """Make both directories, private to this user, and check that they may be used.

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
    """Return the directories to use, absolute; nothing is touched on disk."""
    uid = os.geteuid() if uid is None else uid
    return Paths(
        run_dir=Path(run_dir).absolute() if run_dir else _default_run_dir(environ, uid),
        data_dir=Path(data_dir).absolute() if data_dir else _default_data_dir(environ, uid),
    )


def make_private(directory: Path, option: str) -> None:
    """Make a directory that only this user can use, unless it exists; raises PathError.

    `option` is the one that names another directory.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise PathError(
            f"cannot make the directory {directory}: {error.strerror}; "
            f"choose another one with {option}"
        ) from error
    check_owner(directory, option)


def check_owner(directory: Path, option: str, *, root_may: bool = False) -> None:
    """Refuse a directory that another user could have prepared; raises PathError.

    /tmp is everybody's: a socket found there is trusted only if nobody else can have put it, and
    a CA only if nobody else can have read or replaced it. With `root_may`, root may use anybody's:
    it looks into a directory that it was given by name.
    """
    try:
        status = directory.lstat()
    except OSError as error:
        raise PathError(f"cannot use {directory}: {error.strerror}") from error
    if stat.S_ISLNK(status.st_mode) and directory.parent == Path("/tmp"):
        raise PathError(
            f"{directory} is a symbolic link, which anybody can make in /tmp: remove it"
        )
    status = directory.stat()
    if not stat.S_ISDIR(status.st_mode):
        raise PathError(f"{directory} is not a directory")
    if root_may and os.geteuid() == 0:
        return
    if status.st_uid != os.geteuid():
        raise PathError(
            f"{directory} belongs to user {status.st_uid}, not to {os.geteuid()}: run as that "
            f"user, or choose another directory with {option}"
        )
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise PathError(
            f"{directory} can be written by others: run `chmod go-w {directory}`, or choose a "
            f"directory in it with {option}"
        )


def check_socket_length(path: Path) -> None:
    """Refuse a socket path that the kernel would not take; raises PathError."""
    from ipc.unix_socket import path_fault  # not for `cloudcore status`, which is to be quick

    if fault := path_fault(path):
        raise PathError(f"{fault}: choose a shorter --run-dir")


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
