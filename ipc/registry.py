"""The channels and groups of all modules, as beehive's ChannelContext holds them.

(vendor/github.com/kubeedge/beehive/pkg/core/context/context_channel.go)
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ipc.channel import DEFAULT_CAPACITY, DEFAULT_MAX_DELIVERIES, Channel, ChannelState
from ipc.errors import UnknownModule


@dataclass(frozen=True)
class Mailbox:
    """The channels of one module: its inbox, and one for answers, which overtake the inbox."""

    group: str
    slot: int
    inbox: Channel
    answers: Channel


class ChannelRegistry:
    """The mailboxes of all modules, created before the modules' processes and passed to each.

    The keyword arguments are those of Channel and apply to every module's inbox.
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
        """by module name"""
        self._members: dict[str, list[str]] = {}

    def add_module(self, name: str, group: str = "") -> None:
        """Create the module's channels, unless it has them."""
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
        """Make the module a member of a group, for `send_to_group`. Raises UnknownModule."""
        mailbox = self.mailbox(name)
        self._put(name, Mailbox(group, mailbox.slot, mailbox.inbox, mailbox.answers))

    def set_state(self, name: str, state: ChannelState) -> None:
        """Set for all processes whether the module is going to read. Raises UnknownModule."""
        mailbox = self.mailbox(name)
        mailbox.inbox.state = mailbox.answers.state = state

    def cleanup(self, name: str) -> None:
        """Remove a module and close its channels, in this process only."""
        self._members.clear()
        mailbox = self.mailboxes.pop(name, None)
        if mailbox:
            mailbox.inbox.close()
            mailbox.answers.close()

    def mailbox(self, name: str) -> Mailbox:
        """Return a module's channels. Raises UnknownModule."""
        try:
            return self.mailboxes[name]
        except KeyError:
            known = ", ".join(sorted(self.mailboxes)) or "none"
            raise UnknownModule(f"no module named {name!r} (known: {known})") from None

    def members(self, group: str) -> list[str]:
        """Return the names of a group's modules. Raises UnknownModule if there are none."""
        names = self._members.get(group)
        if names is None:
            names = [name for name, mailbox in self.mailboxes.items() if mailbox.group == group]
            self._members[group] = names
        if not names:
            known = ", ".join(sorted({each.group for each in self.mailboxes.values()})) or "none"
            raise UnknownModule(f"no module is in group {group!r} (known: {known})")
        return names

    def filenos(self) -> list[int]:
        """Return the descriptors that a process needs to use all channels."""
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
