"""Signals between processes: a waiter sleeps in the kernel, and a signaller never blocks.

No process reads the eventfd; each waiting process watches it with an edge-triggered epoll. Every
signal therefore wakes every waiter once, and a waiter that is killed takes no signal away from
the others. A waiter first announces in shared memory that it sleeps, so that nobody makes the
system call for a signal while there is no waiter.
"""

from __future__ import annotations

import os
import select
import time
import weakref


class EventFd:
    """The signalling end: an eventfd that sender and reader inherit (eventfd(2))."""

    def __init__(self, fd: int | None = None) -> None:
        self.fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK) if fd is None else fd
        weakref.finalize(self, os.close, self.fd).atexit = False

    def signal(self) -> None:
        """Wake every process that watches the eventfd."""
        os.eventfd_write(self.fd, 1)


class EventFdWatch:
    """One process's wait on one or more eventfds; `fileno` is for `loop.add_reader`."""

    def __init__(self, *events: EventFd) -> None:
        self._epoll = select.epoll()
        for event in events:
            self._epoll.register(event.fd, select.EPOLLIN | select.EPOLLET)
        self._epoll.poll(0)  # forget earlier signals

    def fileno(self) -> int:
        return self._epoll.fileno()

    def wait(self, timeout: float | None = None) -> bool:
        """Sleep until a signal; return False after `timeout` seconds without one."""
        return bool(self._epoll.poll(-1 if timeout is None else timeout))

    def clear(self) -> None:
        """Forget the signals so far; a callback of an event loop does this first."""
        self._epoll.poll(0)

    def close(self) -> None:
        self._epoll.close()


class Deadline:
    """A point in time, made from a timeout in seconds; with None it never passes."""

    __slots__ = ("_at",)

    def __init__(self, timeout: float | None) -> None:
        self._at = None if timeout is None else time.monotonic() + timeout

    def remaining(self) -> float | None:
        """Return the seconds left, at least 0; None if there is no limit."""
        return None if self._at is None else max(0.0, self._at - time.monotonic())

    @property
    def passed(self) -> bool:
        return self._at is not None and time.monotonic() >= self._at
