"""Records of the processes that run, from which the next supervisor cleans up after a kill.

A module's process records itself in a file, RUN_DIR/runs/NAME, and removes the file when its
cleanup has run; after a crash the supervisor does. A file that exists when cloudcore starts belongs
to a process of a supervisor that was killed: that process gets time to stop on its own
(supervisor/unit/child.py), and then the cleanup of its module is run.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import time
from pathlib import Path
from typing import Final

import msgspec

from ipc.files import replace_file

log = logging.getLogger(__name__)

_STARTED: Final = 19  # index of starttime among the fields after the name, proc(5)


class _Run(msgspec.Struct, frozen=True):
    pid: int
    started: int
    """start time in the kernel's ticks since boot: the pid alone may have been reused"""


class RunRecords:
    """The directory of the records, one file for each process."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def begin(self, name: str, pid: int = 0) -> None:
        """Record a running process: `pid`, or by default this one."""
        pid = pid or os.getpid()
        self._directory.mkdir(mode=0o700, exist_ok=True)
        run = _Run(pid, _started(pid) or 0)
        replace_file(self._directory / name, msgspec.json.encode(run), sync=False)

    def has(self, name: str) -> bool:
        """Whether there is a record of that name."""
        return (self._directory / name).exists()

    def end(self, name: str) -> None:
        """Remove the record of a process that has been cleaned up after."""
        (self._directory / name).unlink(missing_ok=True)

    async def end_leftovers(self, timeout: float) -> list[str]:
        """Wait until the processes left behind have exited, and kill them after `timeout` seconds.

        Returns the names of the modules whose cleanup has not run.
        """
        deadline = time.monotonic() + timeout
        for file in self._files():
            run = _read(file)
            if run and _started(run.pid) == run.started:
                log.warning("process %d of module %s still runs", run.pid, file.name)
                await _end(run.pid, deadline)
        return [file.name for file in self._files()]

    def close(self) -> None:
        """Remove the directory, if nothing is left in it."""
        with contextlib.suppress(OSError):
            self._directory.rmdir()

    def _files(self) -> list[Path]:
        return sorted(self._directory.glob("[!.]*"))


def _read(file: Path) -> _Run | None:
    try:
        return msgspec.json.decode(file.read_bytes(), type=_Run)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None  # no process of a module has written this


def _started(pid: int) -> int | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return int(text.rpartition(")")[2].split()[_STARTED])


async def _end(pid: int, deadline: float) -> None:
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    with contextlib.suppress(ProcessLookupError), contextlib.ExitStack() as stack:
        pidfd = os.pidfd_open(pid)
        stack.callback(os.close, pidfd)
        loop.add_reader(pidfd, ended.set)
        stack.callback(loop.remove_reader, pidfd)
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                await ended.wait()
        except TimeoutError:
            log.error("process %d did not exit in time: killing it", pid)
            os.killpg(pid, signal.SIGKILL)
            await ended.wait()
