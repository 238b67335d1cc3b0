"""Checks for `cloudcore doctor` and its like: what they find, and how they are run.

All checks run at once, each in a thread of its own and with a deadline, so that one that hangs or
raises delays and stops no other.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Self


class Mark(StrEnum):
    """How a finding is to be read; the last two make the exit status 1."""

    OK = "ok"
    NOTE = "note"
    WRONG = "wrong"
    UNCLEAR = "unclear"


@dataclass(frozen=True)
class Finding:
    """What a check has found: a sentence that names the object."""

    mark: Mark
    text: str
    command: str = ""
    """the command line that mends it, or that shows more"""

    @classmethod
    def ok(cls, text: str) -> Self:
        """All is well."""
        return cls(Mark.OK, text)

    @classmethod
    def note(cls, text: str, command: str = "") -> Self:
        """Something that one should know, and that need not be mended."""
        return cls(Mark.NOTE, text, command)

    @classmethod
    def wrong(cls, text: str, command: str = "") -> Self:
        """Something that has to be mended; the text says how, if no command does."""
        return cls(Mark.WRONG, text, command)

    @classmethod
    def unclear(cls, text: str, command: str = "") -> Self:
        """Something that could not be looked at."""
        return cls(Mark.UNCLEAR, text, command)


Findings = Iterable[Finding]


@dataclass(frozen=True)
class Check:
    """One check; `look` changes nothing, and is given up at its deadline.

    `look` is a generator, a function, or an `async def`. What it has found before it raises or is
    given up counts. Of several checks with one title the first one is run: modules may share what
    they check.
    """

    title: str
    look: Callable[[], Findings | Awaitable[Findings]]


@dataclass
class _Run:
    """One check in its thread."""

    check: Check
    timeout: float
    found: list[Finding] = field(default_factory=list)
    failure: Finding | None = None
    thread: threading.Thread | None = None

    def start(self) -> None:
        # A daemon: the process exits while a thread still waits for a file system that hangs.
        self.thread = threading.Thread(target=self._look, daemon=True, name=self.check.title)
        self.thread.start()

    def result(self, deadline: float) -> list[Finding]:
        """Return the findings, at the latest at the deadline (monotonic clock)."""
        assert self.thread
        self.thread.join(max(0.0, deadline - time.monotonic()))
        late = _late(self.check, self.timeout) if self.thread.is_alive() else None
        ending = late or self.failure
        return [*self.found, *([ending] if ending else [])]

    def _look(self) -> None:
        try:
            found = self.check.look()
            if inspect.isawaitable(found):
                found = asyncio.run(_in_time(found, self.timeout))
            for finding in found:
                self.found.append(finding)
        except TimeoutError:
            self.failure = _late(self.check, self.timeout)
        except Exception as error:
            text = f"cannot check {self.check.title}: {type(error).__name__}: {error}"
            self.failure = Finding.unclear(text)


async def _in_time(found: Awaitable[Findings], timeout: float) -> Findings:
    async with asyncio.timeout(timeout):
        return await found


def _late(check: Check, timeout: float) -> Finding:
    return Finding.unclear(f"cannot check {check.title}: not finished within {timeout:g} s")


def perform(
    checks: Sequence[Check],
    timeout: float,
    waiting: Callable[[Check], AbstractContextManager[Any]] = nullcontext,
) -> Iterator[tuple[Check, list[Finding]]]:
    """Run all checks at once; yield each with its findings, in order, as soon as it is known.

    `timeout` is the deadline of each check in seconds; `waiting` is entered while one is awaited.
    """
    unique: dict[str, Check] = {}
    for check in checks:
        unique.setdefault(check.title, check)
    runs = [_Run(check, timeout) for check in unique.values()]
    deadline = time.monotonic() + timeout
    for run in runs:
        run.start()
    for run in runs:
        with waiting(run.check):
            found = run.result(deadline)
        yield run.check, found
