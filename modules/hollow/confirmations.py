"""What an edge's deviceTwin has sent to the cloud, until that confirms it.

After edge/pkg/devicetwin/dtmanager/communicate.go, whose worker sends all of it again when it has
had nothing else to do for a minute, unless the edge is not connected.
"""

from __future__ import annotations

import asyncio

from ipc import Message
from modules.hollow.link import Link


class Confirmations:
    """The messages that the cloud has not confirmed, by their ids."""

    def __init__(self, link: Link, seconds: float) -> None:
        """Set up; after `seconds` without a call, all messages are sent again."""
        self._link = link
        self._seconds = seconds
        self._waiting: dict[str, Message] = {}
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    def send(self, message: Message) -> None:
        """Send a message, and expect its confirmation."""
        self._waiting[message.id] = message
        self._link.send(message)
        self._restart_timer()

    def confirm(self, parent_id: str) -> None:
        """Take a confirmation; the parent id is that of the message that is confirmed."""
        self._waiting.pop(parent_id, None)
        self._restart_timer()

    def stop(self) -> None:
        """Cancel the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _restart_timer(self) -> None:
        self.stop()
        if self._waiting:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._seconds, self._send_again)

    def _send_again(self) -> None:
        if self._link.up:
            for message in self._waiting.values():
                self._link.send(message)
        self._restart_timer()
