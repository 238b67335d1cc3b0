"""Notifications to systemd, if it started cloudcore: sd_notify(3)."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from typing import Final

log = logging.getLogger(__name__)

_MICROSECONDS: Final = 1_000_000


class Systemd:
    """The sender of notifications, to the socket that NOTIFY_SOCKET names; without it, to nobody.

    The variables are removed from the environment: they are not meant for modules.
    """

    def __init__(self) -> None:
        address = os.environ.pop("NOTIFY_SOCKET", "")
        watchdog = os.environ.pop("WATCHDOG_USEC", "")
        for_pid = os.environ.pop("WATCHDOG_PID", "") or str(os.getpid())
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._socket.setblocking(False)
        meant = watchdog.isdigit() and for_pid == str(os.getpid())
        self._period = int(watchdog) / _MICROSECONDS / 2 if meant else 0.0
        self._status = ""

    def ready(self) -> None:
        self._send("READY=1")

    def status(self, text: str) -> None:
        """Show a line in `systemctl status`."""
        if text != self._status:
            self._status = text
            self._send(f"STATUS={text}")

    def reloading(self) -> None:
        """Report the beginning of a reload; `ready` reports its end."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        self._send("STOPPING=1")

    def keep_alive(self, loop: asyncio.AbstractEventLoop) -> None:
        """Send a sign of life from the event loop at half of systemd's watchdog period."""
        if self._period:
            self._send("WATCHDOG=1")
            loop.call_later(self._period, self.keep_alive, loop)

    def _send(self, text: str) -> None:
        if not self._address:
            return
        try:
            self._socket.sendto(text.encode("utf-8", "backslashreplace"), self._address)
        except OSError as error:
            log.warning("cannot notify systemd of %r: %s", text, error.strerror)
