"""All modules' channels and groups: what beehive's ChannelContext holds.

(vendor/github.com/kubeedge/beehive/pkg/core/context/context_channel.go)
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ipc.channel import DEFAULT_CAPACITY, DEFAULT_MAX_DELIVERIES, Channel, ChannelState
from ipc.errors import UnknownModule


@dataclass(frozen=True)
class Mailbox:
    """A module's channels: its inbox, and one for answers so that none waits behind bulk."""

    group: str
    slot: int
    inbox: Channel
    answers: Channel


class ChannelRegistry:
    """The modules that can be sent to. Made before any module's process, handed to each.

    Keywords are those of Channel and hold for every module's inbox.
    """

    def __init__(
        self,
        *,
        capacity: int = DEFAULT_CAPACITY,
        max_deliveries: int = DEFAULT_MAX_DELIVERIES,
        dead_letters: Path | None = None,
    ) -> None:
        self._capacity = capacity
        self._max_deliveries = max_deliveries
        self._dead_letters = dead_letters
        self.mailboxes: dict[str, Mailbox] = {}
        """by the modules' names"""
        self._members: dict[str, list[str]] = {}

    def add_module(self, name: str, group: str = "") -> None:
        """Make the module's channels; nothing happens if it has them."""
        if name in self.mailboxes:
            return
        inbox = Channel(
            name,
            capacity=self._capacity,
            max_deliveries=self._max_deliveries,
            dead_letters=self._dead_letters,
        )
        answers = Channel(f"{name}-answers", capacity=self._capacity)
        self._put(name, Mailbox(group, len(self.mailboxes), inbox, answers))

    def add_module_group(self, name: str, group: str) -> None:
        """Put the module into a group, for `send_to_group`."""
        mailbox = self.mailbox(name)
        self._put(name, Mailbox(group, mailbox.slot, mailbox.inbox, mailbox.answers))

    def set_state(self, name: str, state: ChannelState) -> None:
        """Say for all processes whether the module is going to read."""
        mailbox = self.mailbox(name)
        mailbox.inbox.state = mailbox.answers.state = state

    def cleanup(self, name: str) -> None:
        """Forget a module and its channels, in this process."""
        self._members.clear()
        mailbox = self.mailboxes.pop(name, None)
        if mailbox:
            mailbox.inbox.close()
            mailbox.answers.close()

    def mailbox(self, name: str) -> Mailbox:
        """Get a module's channels; UnknownModule if it has none."""
        try:
            return self.mailboxes[name]
        except KeyError:
            known = ", ".join(sorted(self.mailboxes)) or "none"
            raise UnknownModule(f"no module is named {name!r} (known: {known})") from None

    def members(self, group: str) -> list[str]:
        """Names of the modules in a group; UnknownModule if there are none."""
        names = self._members.get(group)
        if names is None:
            names = [name for name, mailbox in self.mailboxes.items() if mailbox.group == group]
            self._members[group] = names
        if not names:
            known = ", ".join(sorted({each.group for each in self.mailboxes.values()})) or "none"
            raise UnknownModule(f"no module is in group {group!r} (known: {known})")
        return names

    def filenos(self) -> list[int]:
        """Descriptors that a process needs to use all these channels."""
        return [
            number
            for mailbox in self.mailboxes.values()
            for number in (*mailbox.inbox.filenos(), *mailbox.answers.filenos())
        ]

    def _put(self, name: str, mailbox: Mailbox) -> None:
        self.mailboxes[name] = mailbox
        self._members.clear()

    @property
    def names(self) -> list[str]:
        return list(self.mailboxes)
