"""Parts of `send_sync`: a question in flight, and the errors of several operations."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from ipc.channel import Channel
from ipc.errors import ChannelError, Timeout
from ipc.message import Message


@dataclass
class Question:
    """A message that waits for its answer; its times are values of `time.perf_counter`."""

    message: Message
    module: str
    inbox: Channel
    asked: float = field(default_factory=time.perf_counter)
    answer: Message | None = None
    answered: float = 0.0


class Failures:
    """The errors of operations on several modules, none of which stops the others."""

    def __init__(self) -> None:
        self._errors: list[ChannelError] = []

    def __enter__(self) -> None:
        pass

    def __exit__(self, _type: object, error: BaseException | None, _traceback: object) -> bool:
        if isinstance(error, ChannelError):
            self._errors.append(error)
            return True
        return False

    def raise_first(self) -> None:
        """Raise the first error, if any, with the others as notes."""
        if self._errors:
            first, *others = self._errors
            for other in others:
                first.add_note(f"and: {other}")
            raise first


def no_answer(module: str, message: Message) -> Timeout:
    """Return the error for a question whose timeout has passed."""
    return Timeout(
        f"module {module!r} did not answer message {message.id} "
        f"({message.operation} {message.resource}) in time"
    )
