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
        self.lines: dict[str, Mailbox] = {}
        """by the modules' names"""
        self._members: dict[str, list[str]] = {}

    def add_module(self, name: str, group: str = "") -> None:
        """Make the module's channels; nothing happens if it has them."""
        if name in self.lines:
            return
        inbox = Channel(
            name,
            capacity=self._capacity,
            max_deliveries=self._max_deliveries,
            dead_letters=self._dead_letters,
        )
        answers = Channel(f"{name}-answers", capacity=self._capacity)
        self._put(name, Mailbox(group, len(self.lines), inbox, answers))

    def add_module_group(self, name: str, group: str) -> None:
        """Put the module into a group, for `send_to_group`."""
        line = self.line(name)
        self._put(name, Mailbox(group, line.slot, line.inbox, line.answers))

    def set_state(self, name: str, state: ChannelState) -> None:
        """Say for all processes whether the module is going to read."""
        line = self.line(name)
        line.inbox.state = line.answers.state = state

    def cleanup(self, name: str) -> None:
        """Forget a module and its channels, in this process."""
        self._members.clear()
        line = self.lines.pop(name, None)
        if line:
            line.inbox.close()
            line.answers.close()

    def line(self, name: str) -> Mailbox:
        """Get a module's channels; UnknownModule if it has none."""
        try:
            return self.lines[name]
        except KeyError:
            known = ", ".join(sorted(self.lines)) or "none"
            raise UnknownModule(f"no module is named {name!r} (known: {known})") from None

    def members(self, group: str) -> list[str]:
        """Names of the modules in a group; UnknownModule if there are none."""
        names = self._members.get(group)
        if names is None:
            names = [name for name, line in self.lines.items() if line.group == group]
            self._members[group] = names
        if not names:
            known = ", ".join(sorted({line.group for line in self.lines.values()})) or "none"
            raise UnknownModule(f"no module is in a group {group!r} (known: {known})")
        return names

    def filenos(self) -> list[int]:
        """Descriptors that a process needs to use all these channels."""
        return [
            number
            for line in self.lines.values()
            for number in (*line.inbox.filenos(), *line.answers.filenos())
        ]

    def _put(self, name: str, line: Mailbox) -> None:
        self.lines[name] = line
        self._members.clear()

    @property
    def names(self) -> list[str]:
        return list(self.lines)
