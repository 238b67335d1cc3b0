"""Processes that begin with the testbed imported: one process imports it and forks for each.

Importing takes a second of CPU, nine tenths of what a test of a small supervisor takes. The first
use starts the process that is forked, multiprocessing's fork server; it ends with the tests.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
from collections.abc import Sequence
from multiprocessing.reduction import DupFd
from pathlib import Path
from typing import Any

_context = multiprocessing.get_context("forkserver")
_preloaded = ["tests.support.testbed"]
_context.set_forkserver_preload(_preloaded)


def preload(name: str) -> None:
    """Have the process import this too; to be called when tests are collected, before its start."""
    _preloaded.append(name)
    _context.set_forkserver_preload(_preloaded)


class Forked:
    """A process of the testbed, with the part of subprocess.Popen's interface that tests use."""

    def __init__(self, arguments: Sequence[str]) -> None:
        read, write = os.pipe()
        self._process = _context.Process(
            target=_testbed,
            args=(_Inherited(write), list(arguments), dict(os.environ), Path.cwd()),
            daemon=True,
        )
        self._process.start()
        os.close(write)
        self.stderr = os.fdopen(read, "rb")
        assert self._process.pid
        self.pid = self._process.pid

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit status, or minus the number of the signal that ended it."""
        self._process.join(timeout)
        status = self._process.exitcode
        if status is None:
            assert timeout is not None
            raise subprocess.TimeoutExpired("testbed", timeout)
        return status

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class _Inherited:
    """A descriptor that the new process has too, under the number that `detach` returns."""

    def __init__(self, number: int) -> None:
        self._number = number

    def __reduce__(self) -> tuple[Any, ...]:
        return (_detach, (DupFd(self._number),))


def _detach(duplicate: Any) -> int:
    number: int = duplicate.detach()
    return number


def _testbed(
    stderr: int, arguments: Sequence[str], environment: dict[str, str], directory: Path
) -> None:
    """Be what `python -m tests.support.testbed ARGUMENT...` is in a process group of its own."""
    from tests.support import testbed

    os.setpgid(0, 0)
    os.chdir(directory)
    os.environ.clear()
    os.environ.update(environment)
    os.dup2(stderr, 2)
    os.close(stderr)
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.close(nothing)
    testbed.main(arguments)
