"""Routes an edge's answers back: an answer names the id of its question, and not who asked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ipc import Message

#: Questions to one edge in flight, and the seconds until one is forgotten.
_LIMIT: Final = 1024
_TIMEOUT: Final = 120.0


class PendingReplies:
    """The unanswered questions to one edge, with where each answer goes."""

    __slots__ = ("_asked",)

    def __init__(self) -> None:
        self._asked: dict[str, tuple[str, float]] = {}
        # question id -> (reply_to, deadline), oldest first

    def add(self, question: Message, now: float) -> None:
        """Record a question; the oldest one is forgotten if there are too many."""
        self._asked[question.id] = question.reply_to, now + _TIMEOUT
        if len(self._asked) > _LIMIT:
            del self._asked[next(iter(self._asked))]

    def take(self, answer: Message) -> bool:
        """Set an answer's reply_to; False if it answers no pending question."""
        if answer.parent_id not in self._asked:
            return False
        answer.reply_to, _ = self._asked.pop(answer.parent_id)
        return True

    def expire(self, now: float) -> None:
        """Forget the questions whose deadline has passed."""
        while self._asked:
            asked, (_, deadline) = next(iter(self._asked.items()))
            if now <= deadline:
                break
            del self._asked[asked]

    def give_up(self, node: str) -> Iterator[Message]:
        """Answer every question with an error, since the node has disconnected."""
        text = f"node {node} was disconnected before it answered"
        for asked, (reply_to, _) in self._asked.items():
            answer = Message.build(
                "cloudhub", "resource", "error", f"node/{node}", text, parent_id=asked
            )
            answer.reply_to = reply_to
            yield answer
        self._asked.clear()
