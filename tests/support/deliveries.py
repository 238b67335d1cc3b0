"""What a channel hands to a module, for tests without a channel."""

from __future__ import annotations

from ipc import Message


class Taken:
    """A message of an edge, as a channel hands it out."""

    def __init__(self, message: Message) -> None:
        self.message = message
        self.is_done = False

    def done(self) -> None:
        assert not self.is_done
        self.is_done = True
