"""Questions that several ask at the same time."""

from __future__ import annotations

import asyncio
import gc

import pytest

from modules.common.shared_answers import SharedAnswers


class Asked:
    """What answers, when the test lets it, with the number of the question."""

    def __init__(self) -> None:
        self.begun: list[tuple[str, asyncio.Future[int]]] = []

    async def answer(self, question: str) -> int:
        number: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.begun.append((question, number))
        return await number


async def settle() -> None:
    for _ in range(9):
        await asyncio.sleep(0)


async def test_who_asks_before_a_question_has_begun_shares_its_answer() -> None:
    asked = Asked()
    answers = SharedAnswers(asked.answer, at_once=1)
    first = asyncio.create_task(answers.ask("a"))
    await settle()
    later = [asyncio.create_task(answers.ask("a")) for _ in range(3)]
    await settle()
    assert len(asked.begun) == 1
    asked.begun[0][1].set_result(1)
    await settle()
    assert await first == 1
    assert len(asked.begun) == 2
    asked.begun[1][1].set_result(2)
    assert await asyncio.gather(*later) == [2, 2, 2]


async def test_other_questions_are_answered_meanwhile_as_far_as_there_is_room() -> None:
    asked = Asked()
    answers = SharedAnswers(asked.answer, at_once=2)
    asking = [asyncio.create_task(answers.ask(question)) for question in "abc"]
    await settle()
    assert [question for question, _ in asked.begun] == ["a", "b"]
    asked.begun[1][1].set_result(2)
    await settle()
    assert [question for question, _ in asked.begun] == ["a", "b", "c"]
    for number in (0, 2):
        asked.begun[number][1].set_result(number)
    assert await asyncio.gather(*asking) == [0, 2, 2]


async def test_an_error_is_raised_to_all_who_share_it_and_the_next_one_is_asked_anew() -> None:
    asked = Asked()
    answers = SharedAnswers(asked.answer, at_once=1)
    both = [asyncio.create_task(answers.ask("a")) for _ in range(2)]
    await settle()
    asked.begun[0][1].set_exception(ZeroDivisionError())
    for each in both:
        with pytest.raises(ZeroDivisionError):
            await each
    again = asyncio.create_task(answers.ask("a"))
    await settle()
    asked.begun[1][1].set_result(1)
    assert await again == 1


async def test_who_gives_up_takes_nothing_from_the_others() -> None:
    asked = Asked()
    answers = SharedAnswers(asked.answer, at_once=1)
    both = [asyncio.create_task(answers.ask("a")) for _ in range(2)]
    await settle()
    both[0].cancel()
    await settle()
    asked.begun[0][1].set_result(1)
    assert await both[1] == 1


async def test_a_failure_for_which_nobody_waits_any_more_is_not_reported() -> None:
    reported: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, about: reported.append(about))
    asked = Asked()
    asking = asyncio.create_task(SharedAnswers(asked.answer, at_once=1).ask("a"))
    await settle()
    asking.cancel()
    await settle()
    asked.begun.pop()[1].set_exception(ZeroDivisionError())
    await settle()
    gc.collect()
    assert not reported
