"""One process of a module, seen from the supervisor: started, awaited, killed."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any, Final, NoReturn

import msgspec
import multiprocess.context
import multiprocess.popen_fork
import multiprocess.process
import psutil

from supervisor.host.suspension import suspension
from supervisor.unit.launch import LaunchSpec

#: Seconds that an aborted process has to write its stacks (and the kernel its core).
_ABORTING: Final = 5.0

#: Pids of the processes of modules that have not been reaped.
living: set[int] = set()


class _Forked(multiprocess.popen_fork.Popen):  # type: ignore[misc]
    """A fork without multiprocess' two pipes.

    Nobody waits on them, and they would stay open after each fork that fails: the supervisor would
    be out of descriptors long after the machine has process ids again.
    """

    sentinel = -1

    def __init__(self, process: Any) -> None:
        for stream in (sys.stdout, sys.stderr):  # or the child writes what they hold once more
            with contextlib.suppress(OSError, ValueError):  # of a disk that is full
                stream.flush()
        self.returncode = self.finalizer = None
        self._launch(process)

    def _launch(self, process: Any) -> None:
        self.pid = os.fork()
        if self.pid == 0:
            status = 1
            try:
                status = process._bootstrap()
            finally:
                os._exit(status)


class _Process(multiprocess.context.ForkProcess):  # type: ignore[misc]
    @staticmethod
    def _Popen(process: Any) -> _Forked:  # noqa: N802 - multiprocess' name
        return _Forked(process)


class Usage(msgspec.Struct, frozen=True):
    """What a process uses; `cpu_percent` is of one core, since the previous call."""

    cpu_percent: float | None = None
    cpu_seconds: float | None = None
    rss_bytes: int | None = None
    threads: int | None = None
    fds: int | None = None


class ModuleProcess:
    """A forked process that runs `target(launch)`; `exited` resolves with its exit code.

    Fork is the start method because the supervisor has no threads and imports little: a module
    is back within milliseconds, and shares the memory of what is imported.
    """

    def __init__(self, target: Callable[[LaunchSpec], NoReturn], launch: LaunchSpec) -> None:
        self.shared_state = launch.shared_state
        self.beats = inspect.iscoroutinefunction(launch.module.start)
        """whether an event loop gives the signs of life"""
        self.started_at = time.time()
        self.started = time.monotonic()
        self._process = _Process(target=target, args=(launch,), name=launch.name)
        old_mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            self._process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, old_mask)
        # multiprocess reaps its children whenever a process is started; this one is for `_reap`.
        multiprocess.process._children.discard(self._process)
        self.pid: int = self._process.pid
        living.add(self.pid)
        with contextlib.suppress(OSError):  # the child does the same: one of the two is first
            os.setpgid(self.pid, self.pid)
        self._loop = asyncio.get_running_loop()
        self.exited: asyncio.Future[Any] = self._loop.create_future()
        self.ready: asyncio.Event = asyncio.Event()
        try:
            self.usage_of = psutil.Process(self.pid)
            self.usage_of.cpu_percent()
            self._pidfd = os.pidfd_open(self.pid)
        except BaseException:  # a process that cannot be watched must not run
            os.kill(self.pid, signal.SIGKILL)
            self._process.join()
            living.discard(self.pid)
            raise
        self._loop.add_reader(self._pidfd, self._reap)
        self._loop.add_reader(self.shared_state.notice, self._read_notice)

    def send_signal(self, number: int) -> None:
        """Send a signal to the module's process; nothing happens if it has exited."""
        if not self.exited.done():
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)

    def kill(self) -> None:
        """Kill the process and all processes that it has started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    async def abort(self) -> None:
        """Abort the process, so that faulthandler writes the stacks of all its threads."""
        self.send_signal(signal.SIGABRT)
        if await self.wait(_ABORTING) is None:
            self.kill()

    async def wait(self, timeout: float | None = None) -> int | None:
        """Wait until the process exits, and return its exit code as in multiprocessing.

        Returns None if it still runs after `timeout` seconds.
        """
        await asyncio.wait([self.exited], timeout=timeout)
        return self.exited.result() if self.exited.done() else None

    def usage(self) -> Usage:
        """Return what the process uses now; all fields are None if it has just exited."""
        try:
            with self.usage_of.oneshot():
                times = self.usage_of.cpu_times()
                return Usage(
                    cpu_percent=self.usage_of.cpu_percent(),
                    cpu_seconds=round(times.user + times.system, 2),
                    rss_bytes=self.usage_of.memory_info().rss,
                    threads=self.usage_of.num_threads(),
                    fds=self.usage_of.num_fds(),
                )
        except psutil.Error:
            return Usage()

    @property
    def suspended(self) -> bool:
        """Whether a signal (SIGSTOP) or a debugger has stopped it: it neither runs nor exits."""
        return bool(suspension(self.pid))

    def _read_notice(self) -> None:
        os.eventfd_read(self.shared_state.notice)
        if self.shared_state.ready:
            self.ready.set()

    def _reap(self) -> None:
        self.kill()  # the processes that it started do not outlive it
        self._process.join()
        living.discard(self.pid)
        self._loop.remove_reader(self._pidfd)
        self._loop.remove_reader(self.shared_state.notice)
        os.close(self._pidfd)
        self.exited.set_result(self._process.exitcode)
        self._process.close()
