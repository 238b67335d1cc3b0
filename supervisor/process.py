"""One process of a module's, seen from the supervisor: started, awaited, ended."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Callable
from typing import Any, NoReturn

import multiprocess
import psutil

from supervisor.child import Birth

_fork = multiprocess.get_context("fork")


class ModuleProcess:
    """A forked process that runs `target(birth)`; `exited` resolves with its exit code.

    Fork is the start method because the supervisor has no threads and imports little: a module
    is back within milliseconds, and shares the memory of what is imported.
    """

    def __init__(self, target: Callable[[Birth], NoReturn], birth: Birth) -> None:
        self.page = birth.page
        self.started_at = time.time()
        self.started = time.monotonic()
        self._process = _fork.Process(target=target, args=(birth,), name=birth.module.name)
        old_mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            self._process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, old_mask)
        self.pid: int = self._process.pid
        with contextlib.suppress(OSError):  # the child does it too: whoever comes first
            os.setpgid(self.pid, self.pid)
        self._loop = asyncio.get_running_loop()
        self.exited: asyncio.Future[Any] = self._loop.create_future()
        self.ready: asyncio.Event = asyncio.Event()
        self._pidfd = os.pidfd_open(self.pid)
        self._loop.add_reader(self._pidfd, self._reap)
        self._loop.add_reader(self.page.notice, self._heed)
        self._usage = psutil.Process(self.pid)
        self._usage.cpu_percent()

    def send_signal(self, number: int) -> None:
        """Signal the module's process; nothing happens if it has ended."""
        if not self.exited.done():
            signal.pidfd_send_signal(self._pidfd, number)

    def kill(self) -> None:
        """End the process and everything that it has started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    async def wait(self, timeout: float | None = None) -> int | None:
        """Wait for the process's end; its exit code as in multiprocessing, None if it lives."""
        await asyncio.wait([self.exited], timeout=timeout)
        return self.exited.result() if self.exited.done() else None

    def usage(self) -> dict[str, Any]:
        """What the process uses now; empty when it has just ended."""
        try:
            with self._usage.oneshot():
                return {
                    "cpu_percent": self._usage.cpu_percent(),
                    "rss_bytes": self._usage.memory_info().rss,
                    "threads": self._usage.num_threads(),
                    "fds": self._usage.num_fds(),
                }
        except psutil.Error:
            return {}

    def _heed(self) -> None:
        os.eventfd_read(self.page.notice)
        if self.page.ready:
            self.ready.set()

    def _reap(self) -> None:
        self._process.join()
        self._loop.remove_reader(self._pidfd)
        self._loop.remove_reader(self.page.notice)
        os.close(self._pidfd)
        self.kill()  # what it started does not outlive it
        self.exited.set_result(self._process.exitcode)
        self._process.close()
