"""Questions that are asked often, whose answers are shared by those who ask at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

Question = TypeVar("Question", bound=Hashable)
Answer = TypeVar("Answer")


class SharedAnswers(Generic[Question, Answer]):
    """Answers questions, some at a time; who asks one that waits for its turn shares its answer.

    One that has begun is not shared: its answer may be older than the question.
    """

    def __init__(self, answer: Callable[[Question], Awaitable[Answer]], at_once: int) -> None:
        """Set up; `at_once` is the number of questions that are answered at the same time."""
        self._answer = answer
        self._room = asyncio.Semaphore(at_once)
        self._waiting: dict[Question, asyncio.Task[Answer]] = {}

    async def ask(self, question: Question) -> Answer:
        """Return the answer to a question from now on; raises what answering it raises."""
        asking = self._waiting.get(question)
        if asking is None:
            asking = self._waiting[question] = asyncio.create_task(self._ask(question))
        return await asyncio.shield(asking)

    async def _ask(self, question: Question) -> Answer:
        async with self._room:
            del self._waiting[question]
            return await self._answer(question)
