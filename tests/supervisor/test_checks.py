"""Checks: all at once, each with a deadline; one that fails or hangs stops no other."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator

from supervisor.checks import Check, Finding, Mark
from supervisor.doctor.runs import perform

OK = Finding.ok("well")


def found(*checks: Check, timeout: float = 5.0) -> list[tuple[str, list[tuple[Mark, str]]]]:
    return [
        (check.title, [(each.mark, each.text) for each in findings])
        for check, findings in perform(checks, timeout)
    ]


def test_functions_generators_and_coroutines() -> None:
    def generator() -> Iterator[Finding]:
        yield OK
        yield Finding.note("a note")

    async def coroutine() -> list[Finding]:
        await asyncio.sleep(0)
        return [Finding.wrong("bad")]

    assert found(Check("a", lambda: [OK]), Check("b", generator), Check("c", coroutine)) == [
        ("a", [(Mark.OK, "well")]),
        ("b", [(Mark.OK, "well"), (Mark.NOTE, "a note")]),
        ("c", [(Mark.WRONG, "bad")]),
    ]


def test_one_that_raises_is_unclear_and_what_it_found_before_counts() -> None:
    def raising() -> Iterator[Finding]:
        yield OK
        raise KeyError("x")

    [(_, findings), (_, others)] = found(Check("a", raising), Check("b", lambda: [OK]))
    assert findings == [(Mark.OK, "well"), (Mark.UNCLEAR, "cannot check a: KeyError: 'x'")]
    assert others == [(Mark.OK, "well")]


def test_those_that_hang_are_given_up_together() -> None:
    let_go = threading.Event()

    def hanging() -> Iterator[Finding]:
        yield OK
        let_go.wait()

    async def waiting() -> list[Finding]:
        await asyncio.Event().wait()
        return []

    began = time.monotonic()
    checks = [Check(f"check {number}", hanging) for number in range(25)]
    results = found(*checks, Check("d", waiting), Check("e", lambda: [OK]), timeout=1.0)
    assert time.monotonic() - began < 25  # the sum of the deadlines
    let_go.set()
    late = (Mark.UNCLEAR, "cannot check check 0: not finished within 1 s")
    assert results[0] == ("check 0", [(Mark.OK, "well"), late])
    assert results[25] == ("d", [(Mark.UNCLEAR, "cannot check d: not finished within 1 s")])
    assert results[26] == ("e", [(Mark.OK, "well")])


def test_each_is_yielded_as_soon_as_it_is_known() -> None:
    let_go = threading.Event()

    def slow() -> list[Finding]:
        assert let_go.wait(20)
        return [OK]

    performed = perform([Check("a", lambda: [OK]), Check("b", slow)], 20)
    assert next(performed)[0].title == "a"
    let_go.set()
    assert next(performed)[1] == [OK]


def test_of_checks_with_one_title_the_first_one_is_run() -> None:
    first, second = Check("a", lambda: [OK]), Check("a", lambda: [Finding.wrong("twice")])
    results = found(first, Check("b", lambda: [OK]), second)
    assert results == [("a", [(Mark.OK, "well")]), ("b", [(Mark.OK, "well")])]
