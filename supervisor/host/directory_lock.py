"""Locks on directories, so that no other cloudcore uses them at the same time.

The lock (flock(2)) is on the directory itself: there is no lock file that could be removed, and the
kernel releases the lock when the process exits. systemd-tmpfiles(8) keeps what is below a locked
directory.
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
    """A directory that is locked until `close`."""

    def __init__(self, directory: Path, option: str) -> None:
        """Lock the directory; raises PathError if another process holds the lock.

        `option` is the command-line option that names another directory.
        """
        self.directory = directory
        self._descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = self._holder()
            self.close()
            holder = f"another cloudcore (process {pid})" if pid else "another cloudcore"
            raise PathError(
                f"{holder} uses {directory}; stop it, or choose another {option}"
            ) from None
        except OSError as error:  # NFS cannot lock a directory
            log.warning(
                "cannot lock %s: %s; make sure that no other cloudcore uses it",
                *(directory, error.strerror),
            )

    @property
    def intact(self) -> bool:
        """Whether the path still leads to the locked directory."""
        with contextlib.suppress(OSError):
            return os.path.samestat(os.fstat(self._descriptor), self.directory.stat())
        return False

    def close(self) -> None:
        os.close(self._descriptor)

    def _holder(self) -> int:
        """Return the pid of the lock's holder; 0 if it is not visible, as from a container."""
        status = os.fstat(self._descriptor)
        return next((pid for pid in _lockers(status.st_ino) if _has_open(pid, status)), 0)


def _lockers(inode: int) -> Iterator[int]:
    """Yield the processes that hold a lock on that inode, on any file system (proc_locks(5))."""
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
