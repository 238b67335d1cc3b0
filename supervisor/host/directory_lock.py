"""Directories that a running cloudcore holds by a lock, so that no other one uses them too.

The lock (flock(2)) is on the directory itself: there is no file whose removal would end it, and
it ends with the process. systemd-tmpfiles(8) leaves alone what is below a locked directory.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
from collections.abc import Iterator
from pathlib import Path

from supervisor.host.paths import PathError

log = logging.getLogger(__name__)


class Held:
    """A directory held from the beginning to `close`; PathError if another process has it."""

    def __init__(self, directory: Path, option: str) -> None:
        """`option` is the one that names another directory."""
        self.directory = directory
        self._descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = self._holder()
            self.close()
            holder = f"another cloudcore (process {pid})" if pid else "another cloudcore"
            raise PathError(
                f"{holder} uses {directory}: stop it, or use another {option}"
            ) from None
        except OSError as error:  # NFS cannot lock a directory
            log.warning(
                "cannot lock %s: %s; nothing keeps another cloudcore from using it too",
                *(directory, error.strerror),
            )

    @property
    def intact(self) -> bool:
        """Whether its path still leads to the directory that is held."""
        with contextlib.suppress(OSError):
            return os.path.samestat(os.fstat(self._descriptor), self.directory.stat())
        return False

    def close(self) -> None:
        os.close(self._descriptor)

    def _holder(self) -> int:
        """Find the process that has the lock; 0 if it cannot be seen, as from a container."""
        status = os.fstat(self._descriptor)
        return next((pid for pid in _lockers(status.st_ino) if _has_open(pid, status)), 0)


def _lockers(inode: int) -> Iterator[int]:
    """Processes that have locked a file of that number, on any file system (proc_locks(5))."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/locks").read_text().splitlines():
            fields = line.replace("->", "").split()
            if fields[1] == "FLOCK" and fields[5].endswith(f":{inode}"):
                yield int(fields[4])


def _has_open(pid: int, status: os.stat_result) -> bool:
    with contextlib.suppress(OSError):
        for link in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                if os.path.samestat(link.stat(), status):
                    return True
    return False
