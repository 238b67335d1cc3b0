"""Records of the processes that run, from which the next supervisor cleans up after a kill.

A module's process records itself in a file, RUN_DIR/lives/NAME, and removes it when its cleanup
has run; after a crash the supervisor does. A file that exists at a start belongs to a process of
a supervisor that was killed: the process gets the time to stop by itself
(supervisor/unit/child.py), and then its cleanup is run.
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


class _Life(msgspec.Struct, frozen=True):
    pid: int
    started: int
    """in the kernel's ticks since the machine was: a process id alone may be another's by now"""


class RunRecords:
    """The directory of the files."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def begin(self, name: str, pid: int = 0) -> None:
        """Note the life of a process, of this one if none is named."""
        pid = pid or os.getpid()
        self._directory.mkdir(mode=0o700, exist_ok=True)
        life = _Life(pid, _started(pid) or 0)
        replace_file(self._directory / name, msgspec.json.encode(life), sync=False)

    def has(self, name: str) -> bool:
        """Whether a life is noted."""
        return (self._directory / name).exists()

    def end(self, name: str) -> None:
        """Note that nothing of it is left to be cleaned up."""
        (self._directory / name).unlink(missing_ok=True)

    async def end_leftovers(self, timeout: float) -> list[str]:
        """Wait until the processes left behind have ended, and kill those that take too long.

        Returns the names of modules whose cleanup has not run.
        """
        deadline = time.monotonic() + timeout
        for file in self._files():
            life = _read(file)
            if life and _started(life.pid) == life.started:
                log.warning("process %d of module %s still runs", life.pid, file.name)
                await _end(life.pid, deadline)
        return [file.name for file in self._files()]

    def close(self) -> None:
        """Remove the directory, if nothing is left in it."""
        with contextlib.suppress(OSError):
            self._directory.rmdir()

    def _files(self) -> list[Path]:
        return sorted(self._directory.glob("[!.]*"))


def _read(file: Path) -> _Life | None:
    try:
        return msgspec.json.decode(file.read_bytes(), type=_Life)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None  # written by nobody who could have started a module


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
            log.error("process %d has not ended in time: killing it", pid)
            os.killpg(pid, signal.SIGKILL)
            await ended.wait()
