"""Events that cross processes: who waits sleeps in the kernel, who signals never blocks.

An eventfd that nobody reads, watched by an edge-triggered epoll in each waiting process: every
signal wakes every waiter once, however many there are and whoever of them has died. The
waiter first says in shared memory that it sleeps, so that signalling costs nothing while
nobody does.
"""

from __future__ import annotations

import os
import select
import time
import weakref


class EventFd:
    """The signalling end: a descriptor that is handed down to the processes concerned."""

    def __init__(self, fd: int | None = None) -> None:
        self.fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK) if fd is None else fd
        weakref.finalize(self, os.close, self.fd).atexit = False

    def signal(self) -> None:
        """Wake everybody who watches the event."""
        os.eventfd_write(self.fd, 1)


class EventFdWatch:
    """One process's wait on one or more events; `fileno` is for an event loop's reader."""

    def __init__(self, *events: EventFd) -> None:
        self._epoll = select.epoll()
        for event in events:
            self._epoll.register(event.fd, select.EPOLLIN | select.EPOLLET)
        self._epoll.poll(0)  # signals of the past

    def fileno(self) -> int:
        return self._epoll.fileno()

    def wait(self, timeout: float | None = None) -> bool:
        """Sleep until an event is signalled; False when `timeout` seconds have passed."""
        return bool(self._epoll.poll(-1 if timeout is None else timeout))

    def clear(self) -> None:
        """Forget the signals so far; an event loop's callback does this first."""
        self._epoll.poll(0)

    def close(self) -> None:
        self._epoll.close()


class Deadline:
    """A point in time, from a timeout in seconds; None is never."""

    __slots__ = ("_at",)

    def __init__(self, timeout: float | None) -> None:
        self._at = None if timeout is None else time.monotonic() + timeout

    def remaining(self) -> float | None:
        """Seconds left, never negative; None for ever."""
        return None if self._at is None else max(0.0, self._at - time.monotonic())

    @property
    def passed(self) -> bool:
        return self._at is not None and time.monotonic() >= self._at
