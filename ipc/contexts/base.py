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
    """The base class of both contexts: one module, and the mailboxes of all."""

    def __init__(self, registry: ChannelRegistry, name: str) -> None:
        self.registry = registry
        self.name = name
        self._mailbox: Mailbox = registry.mailbox(name)
        self._mailboxes = registry.mailboxes
        self._slot = self._mailbox.slot
        self.unmatched_answers = 0
        """answers dropped because no `send_sync` was waiting for them (any more)"""

    @property
    def group(self) -> str:
        return self._mailbox.group

    def add_module(self, name: str) -> None:
        """Create channels for a module that runs in this process."""
        self.registry.add_module(name)

    def add_module_group(self, name: str, group: str) -> None:
        self.registry.add_module_group(name, group)

    def cleanup(self, name: str) -> None:
        """Remove a module and close its channels, in this process only."""
        self.registry.cleanup(name)

    def send_some(self, module: str, messages: Sequence[Message]) -> int:
        """Send messages in order, without waiting, and return how many had room.

        Raises what `send` raises if that concerns the first message. If it concerns another one,
        only the messages before it are sent.
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
        """Return the members of a group except this module."""
        return [name for name in self.registry.members(group) if name != self.name]

    def _put_at_once(self, names: list[str], message: Message, failures: Failures) -> list[str]:
        """Put the message into each channel that has room; return the names of the others."""
        full = []
        for name in names:
            with failures:
                if not self.registry.mailbox(name).inbox.try_put(message, self._slot):
                    full.append(name)
        return full

    def _stopped(self) -> Closed:
        return Closed(f"module {self.name!r} was asked to stop")

    def _nothing_came(self, timeout: float | None) -> Timeout:
        return Timeout(f"no message for module {self.name!r} within {timeout:g} s")

    def _question(self, message: Message, waiters: dict[str, Item], waiter: Item) -> Message:
        """Prepare a message for `send_sync`, and register who waits for its answer.

        A message that is already waiting for an answer is cloned, so that each caller gets its own.
        """
        while waiters.setdefault(message.id, waiter) is not waiter:
            message = message.clone()
        message.sync = True
        message.reply_to = self.name
        return message

    def _answers_of(self, message: Message) -> Channel:
        if not message.reply_to:
            raise ChannelError(
                f"cannot send answer {message.id}: it has no reply_to; make it with "
                "response() or error() of the message that was received"
            )
        return self.registry.mailbox(message.reply_to).answers
