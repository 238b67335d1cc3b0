"""What is due to one node, and what has been sent to it and not been acknowledged yet."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice
from typing import NamedTuple

from modules.common.device_references import DEVICE_TYPE, MODEL_TYPE
from modules.common.sync.journal import Item
from modules.common.sync.window import Window


class Sent(NamedTuple):
    """A message, and the state of the object in it; empty if it deletes the object."""

    message_id: str
    state: str


class NodeInFlight:
    """The due items of one node, models before devices, and its window of messages in flight."""

    def __init__(self, mark: Callable[[Item], None], listed: set[Item]) -> None:
        """Set up; `mark` is called with an item that is to be sent again.

        `listed` are the devices in the list that the node has, as far as is known.
        """
        self._due: dict[str, dict[Item, None]] = {MODEL_TYPE: {}, DEVICE_TYPE: {}}
        self._window: Window[Sent] = Window(mark)
        #: The devices of which the node's list may change.
        self.members: dict[Item, None] = {}
        #: The devices in the list: those of the last answer, and of what was sent since.
        self.listed = listed

    def mark(self, item: Item, *, is_change: bool = True) -> None:
        """Make an item due; a change of a device may be one of the node's list too."""
        self._due[item[0]].setdefault(item)
        if is_change and item[0] == DEVICE_TYPE:
            self.members[item] = None

    def next_members(self, most: int) -> list[Item]:
        """Take the next devices of which the node's list may change."""
        due = list(islice(self.members, most))
        for item in due:
            del self.members[item]
        return due

    def list_changed(self, added: Iterable[Item], removed: Iterable[Item]) -> None:
        """Note what the node's list has got, and what it has no more."""
        self.listed.update(added)
        self.listed.difference_update(removed)

    def next(self) -> Item | None:
        """Take the next due item; None if there is none, or no room in the window."""
        if self._window.room <= 0:
            return None
        for due in self._due.values():
            for item in due:
                del due[item]
                return item
        return None

    def has(self, item: Item, state: str) -> bool:
        """Whether a message with this state of an object is in flight, and not late."""
        sent = self._window.get(item)
        return sent is not None and sent.state == state and not self._window.is_free(item)

    def expect(self, item: Item, sent: Sent) -> None:
        """Note a message that is being sent; it replaces an earlier one about the object."""
        self._window.add(item, sent)

    def acknowledged(self, item: Item, message_id: str) -> Sent | None:
        """Take out the message about an object if it is this one."""
        sent = self._window.get(item)
        if sent is None or sent.message_id != message_id:
            return None
        return self._window.remove(item)

    def forget(self, item: Item) -> None:
        """Forget a message about an object that the node need not acknowledge any more."""
        self._window.remove(item)

    def stop(self) -> None:
        """Cancel all timers."""
        self._window.stop()
