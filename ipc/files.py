"""Atomic replacement of files, file locks, full disks, and errors of files in words.

Other users may write to the directory of a file: its content is written to a temporary file with an
unpredictable name, which is then renamed. The temporary file is opened with O_EXCL and O_NOFOLLOW,
so that no file or link planted by another user is written to, and it has its final mode before the
first byte is written. The module is in `ipc` because that is the only package that all others may
import.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final

PRIVATE: Final = 0o600
PUBLIC: Final = 0o644
#: Errors of a file for which there is no space or quota left.
NO_SPACE: Final = frozenset({errno.ENOSPC, errno.EDQUOT})

_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_LOCK: Final = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC


def replace_file(path: Path, content: bytes, mode: int = PRIVATE, *, sync: bool = True) -> None:
    """Replace `path` atomically by a file with this content and mode.

    With `sync` both the content and the name are on the disk on return (fsync). A symbolic link
    at `path` is replaced, not followed. Raises OSError, which names `path`.
    """
    with replacing(path, mode, sync=sync) as file:
        file.write(content)


@contextlib.contextmanager
def replacing(path: Path, mode: int = PRIVATE, *, sync: bool = True) -> Iterator[IO[bytes]]:
    """Open a temporary file that replaces `path` when the block ends without an exception.

    An OSError without a file's name, such as one of a full disk, or with that of the temporary
    file, gets that of `path`.
    """
    temporary = path.with_name(f".{secrets.token_hex(8)}.tmp")
    with _errors_about(path, temporary):
        descriptor = os.open(temporary, _NEW, mode)
        try:
            with os.fdopen(descriptor, "wb") as file:
                os.fchmod(descriptor, mode)  # whatever the umask is
                yield file
                file.flush()
                if sync:
                    os.fsync(descriptor)
            temporary.rename(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    if sync:
        sync_directory(path.parent)


@contextlib.contextmanager
def _errors_about(path: Path, temporary: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.filename is None or str(error.filename) == str(temporary):
            error.filename = str(path)
        raise


def sync_directory(directory: Path) -> None:
    """Wait until the names in a directory are on the disk."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def open_lock(path: Path) -> IO[bytes]:
    """Open a lock file, created with mode 0600 if needed. Raises OSError for a symbolic link."""
    return os.fdopen(os.open(path, _LOCK, PRIVATE), "r+b")


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on the file at `path`; wait until it is available (flock(2))."""
    with open_lock(path) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def is_full(directory: Path) -> bool:
    """Whether the file system of a directory has no space or no inode left, as far as it says."""
    try:
        status = os.statvfs(directory)
    except OSError:
        return False
    return status.f_bavail == 0 or (status.f_files > 0 and status.f_favail == 0)


def in_words(error: OSError) -> str:
    """Return what the error of a file says, with the file that it names: "cannot use X: WHY"."""
    why = error.strerror or str(error)
    return f"cannot use {error.filename}: {why}" if error.filename else why
