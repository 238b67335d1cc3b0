"""What the blocking and the asynchronous context have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeVar

from ipc.channel import Channel
from ipc.contexts.questions import Failures
from ipc.errors import ChannelError, Closed, Timeout
from ipc.message import Message
from ipc.registry import ChannelRegistry, Mailbox

Item = TypeVar("Item")

#: Timeout in seconds of every operation that waits, except receiving; the same as beehive's.
DEFAULT_TIMEOUT: Final = 30.0


class BaseContext:
    """What both contexts share: who they speak for, and to whom."""

    def __init__(self, registry: ChannelRegistry, name: str) -> None:
        self.registry = registry
        self.name = name
        self._mailbox: Mailbox = registry.mailbox(name)
        self._mailboxes = registry.mailboxes
        self._slot = self._mailbox.slot
        self.unmatched_answers = 0
        """answers that came when nobody waited for them any more"""

    @property
    def group(self) -> str:
        return self._mailbox.group

    def add_module(self, name: str) -> None:
        """Make channels for a module of this process's own making."""
        self.registry.add_module(name)

    def add_module_group(self, name: str, group: str) -> None:
        self.registry.add_module_group(name, group)

    def cleanup(self, name: str) -> None:
        """Forget a module's channels, in this process."""
        self.registry.cleanup(name)

    def send_some(self, module: str, messages: Sequence[Message]) -> int:
        """Send as many messages as there is room for, in their order, and say how many.

        Waits for nothing. Errors are those of `send` for the first message: one that another
        message would meet ends the sending before it.
        """
        mailbox = self._mailboxes.get(module) or self.registry.mailbox(module)
        putting = mailbox.inbox.putting(messages, self._slot)
        try:
            putting()
        except ChannelError:
            if not putting.count:
                raise
        return putting.count

    def _group_targets(self, group: str) -> list[str]:
        """Name the members of a group, without the module itself, which sends."""
        return [name for name in self.registry.members(group) if name != self.name]

    def _put_at_once(self, names: list[str], message: Message, failures: Failures) -> list[str]:
        """Put the message where there is room for it; name those that have none."""
        full = []
        for name in names:
            with failures:
                if not self.registry.mailbox(name).inbox.try_put(message, self._slot):
                    full.append(name)
        return full

    def _stopped(self) -> Closed:
        return Closed(f"module {self.name!r} is asked to stop")

    def _nothing_came(self, timeout: float | None) -> Timeout:
        return Timeout(f"no message came for {self.name!r} within {timeout:g} s")

    def _question(self, message: Message, waiters: dict[str, Item], waiter: Item) -> Message:
        """Make a question of a message, and note who waits for its answer.

        A message that is being asked already gets a new id, so that each asker has its answer.
        """
        while waiters.setdefault(message.id, waiter) is not waiter:
            message = message.clone()
        message.sync = True
        message.reply_to = self.name
        return message

    def _answers_of(self, message: Message) -> Channel:
        if not message.reply_to:
            raise ChannelError(
                f"message {message.id} answers nobody: it has no reply_to. Make it with "
                "response() or error() of the message that was received"
            )
        return self.registry.mailbox(message.reply_to).answers
