"""Who waits for an answer of one edge: the edge's message names the question, and no more."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ipc import Message

#: How many answers, and for how many seconds, are waited for from one edge.
_MOST: Final = 1024
_WAIT: Final = 120.0


class PendingReplies:
    """The questions that an edge has not answered: whom each answer goes to."""

    __slots__ = ("_asked",)

    def __init__(self) -> None:
        self._asked: dict[str, tuple[str, float]] = {}  # in the order in which they were asked

    def add(self, question: Message, now: float) -> None:
        """Remember who asked; the oldest question is forgotten if there are too many."""
        self._asked[question.id] = question.reply_to, now + _WAIT
        if len(self._asked) > _MOST:
            del self._asked[next(iter(self._asked))]

    def take(self, answer: Message) -> bool:
        """Address an answer to whoever asked; False if it answers no question."""
        if answer.parent_id not in self._asked:
            return False
        answer.reply_to, _ = self._asked.pop(answer.parent_id)
        return True

    def expire(self, now: float) -> None:
        """Forget the questions that have waited for too long."""
        while self._asked:
            asked, (_, deadline) = next(iter(self._asked.items()))
            if now <= deadline:
                break
            del self._asked[asked]

    def give_up(self, node: str) -> Iterator[Message]:
        """Make an answer to every question: the node has gone."""
        text = f"node {node} was disconnected before it answered"
        for asked, (reply_to, _) in self._asked.items():
            answer = Message.build(
                "cloudhub", "resource", "error", f"node/{node}", text, parent_id=asked
            )
            answer.reply_to = reply_to
            yield answer
        self._asked.clear()
