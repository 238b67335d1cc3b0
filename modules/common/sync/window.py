"""A window of messages in flight to one node, and when each is sent again.

Edges of today acknowledge each message about an object, and KubeEdge's cloud sends it again after
5 s (cloud/pkg/cloudhub/session/node_session.go). So do we, but no object delays another one: a
message that has not been acknowledged in time leaves the window, and its object is sent later, as
its state is then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from modules.common.sync.journal import Item

#: Seconds in which a node acknowledges a message, and the longest until it is sent again.
RESEND: Final = 5.0
LONGEST: Final = 60.0

#: Limit of messages in flight to one node: its answers never wait behind more than these.
WINDOW: Final = 32

Sent = TypeVar("Sent")


@dataclass(slots=True)
class _Entry(Generic[Sent]):
    sent: Sent
    #: Seconds after which the object is sent again.
    resent_after: float
    in_window: bool = False
    timer: asyncio.TimerHandle | None = None


class Window(Generic[Sent]):
    """The last message about each object to one node, until it is acknowledged."""

    def __init__(
        self,
        resend: Callable[[Item], None],
        *,
        on_late: Callable[[Item], None] = lambda _: None,
        on_room: Callable[[], None] = lambda: None,
    ) -> None:
        """Set up; `resend` is called with an item that is to be sent again.

        `on_late` is called when a message has not been acknowledged in time, and `on_room` when
        there is room for another one.
        """
        self._resend = resend
        self._on_late = on_late
        self._on_room = on_room
        self._entries: dict[Item, _Entry[Sent]] = {}
        self._count = 0

    def __len__(self) -> int:
        """Return the number of messages that are not acknowledged, those that are late too."""
        return len(self._entries)

    def __iter__(self) -> Iterator[Item]:
        return iter(self._entries)

    @property
    def room(self) -> int:
        """How many more messages the node takes now."""
        return WINDOW - self._count

    def get(self, item: Item) -> Sent | None:
        entry = self._entries.get(item)
        return entry.sent if entry else None

    def is_free(self, item: Item) -> bool:
        """Whether no message about an object is in flight, or only one that is late."""
        entry = self._entries.get(item)
        return entry is None or not entry.in_window

    def add(self, item: Item, sent: Sent) -> bool:
        """Note a message that is being sent; it replaces an earlier one about the object.

        Returns whether it is sent again because the earlier one was late.
        """
        before = self._pop(item)
        was_late = before is not None and not before.in_window
        resent_after = before.resent_after if before else RESEND
        if was_late:
            resent_after = min(2 * resent_after, LONGEST)
        if before is not None:
            self._leave(before)
        timer = asyncio.get_running_loop().call_later(RESEND, self._late, item)
        self._entries[item] = _Entry(sent, resent_after, in_window=True, timer=timer)
        self._count += 1
        return was_late

    def add_untimed(self, item: Item, sent: Sent) -> None:
        """Note a message to an edge that is not sent anything again while it is connected."""
        self.remove(item)
        self._entries[item] = _Entry(sent, RESEND)

    def remove(self, item: Item) -> Sent | None:
        """Forget the message about an object: it has been acknowledged, or could not be sent."""
        entry = self._pop(item)
        if entry is None:
            return None
        self._leave(entry)
        return entry.sent

    def stop(self) -> None:
        """Cancel all timers: the connection has ended."""
        for entry in self._entries.values():
            if entry.timer:
                entry.timer.cancel()

    def _pop(self, item: Item) -> _Entry[Sent] | None:
        entry = self._entries.pop(item, None)
        if entry is not None and entry.timer:
            entry.timer.cancel()
        return entry

    def _leave(self, entry: _Entry[Sent]) -> None:
        if entry.in_window:
            entry.in_window = False
            self._count -= 1
            self._on_room()

    def _late(self, item: Item) -> None:
        """Make room for others, and have the object's present state sent when it is time."""
        entry = self._entries[item]
        self._leave(entry)
        pause = max(0.0, entry.resent_after - RESEND)
        entry.timer = asyncio.get_running_loop().call_later(pause, self._resend, item)
        self._on_late(item)
