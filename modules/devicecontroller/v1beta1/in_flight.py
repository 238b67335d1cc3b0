"""What is due to one node, and what has been sent to it and not been acknowledged yet."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

from modules.common.sync.journal import Item
from modules.devicecontroller.v1beta1.objects import DEVICE_TYPE, MODEL_TYPE

#: Seconds in which an edge acknowledges a message, and the longest until it is sent again.
RESEND: Final = 5.0
LONGEST: Final = 60.0

#: Limit of objects in flight to one node.
WINDOW: Final = 32


class Sent(NamedTuple):
    """A message, and the state of the object in it; empty if it deletes the object."""

    message_id: str
    state: str


@dataclass(slots=True)
class _Entry:
    sent: Sent
    timer: asyncio.TimerHandle
    attempts: int
    in_window: bool = True


class NodeInFlight:
    """The due items of one node, models before devices, and its window of messages in flight."""

    def __init__(self, mark: Callable[[Item], None]) -> None:
        """Set up; `mark` is called with an item that is to be sent again."""
        self._mark = mark
        self._due: dict[str, dict[Item, None]] = {MODEL_TYPE: {}, DEVICE_TYPE: {}}
        self._entries: dict[Item, _Entry] = {}
        self._in_window = 0
        #: The devices of which the node's list may change.
        self.members: list[Item] = []

    def mark(self, item: Item, *, is_change: bool = True) -> None:
        """Make an item due; a change of a device may be one of the node's list too."""
        due = self._due[item[0]]
        if item not in due:
            due[item] = None
            if is_change and item[0] == DEVICE_TYPE:
                self.members.append(item)

    def next(self) -> Item | None:
        """Take the next due item; None if there is none, or no room in the window."""
        if self._in_window >= WINDOW:
            return None
        for due in self._due.values():
            for item in due:
                del due[item]
                return item
        return None

    def has(self, item: Item, state: str) -> bool:
        """Whether a message with this state of an object is in flight, and not late."""
        entry = self._entries.get(item)
        return entry is not None and entry.in_window and entry.sent.state == state

    def expect(self, item: Item, sent: Sent) -> None:
        """Note a message that is being sent; it replaces an earlier one about the object."""
        before = self._remove(item)
        attempts = before.attempts + (not before.in_window) if before else 0
        loop = asyncio.get_running_loop()
        timer = loop.call_later(RESEND, self._late, item)
        self._entries[item] = _Entry(sent, timer, attempts)
        self._in_window += 1

    def acknowledged(self, item: Item, message_id: str) -> Sent | None:
        """Take out the message about an object if it is this one."""
        entry = self._entries.get(item)
        if entry is None or entry.sent.message_id != message_id:
            return None
        self._remove(item)
        return entry.sent

    def forget(self, item: Item) -> None:
        """Forget a message about an object that the node need not acknowledge any more."""
        self._remove(item)

    def stop(self) -> None:
        """Cancel all timers."""
        for entry in self._entries.values():
            entry.timer.cancel()

    def _remove(self, item: Item) -> _Entry | None:
        entry = self._entries.pop(item, None)
        if entry is not None:
            entry.timer.cancel()
            self._in_window -= entry.in_window
        return entry

    def _late(self, item: Item) -> None:
        """Make room for others, and have the object's present state sent when it is time."""
        entry = self._entries[item]
        entry.in_window = False
        self._in_window -= 1
        pause = min(RESEND * 2**entry.attempts, LONGEST) - RESEND
        loop = asyncio.get_running_loop()
        entry.timer = loop.call_later(pause, self._mark, item)
