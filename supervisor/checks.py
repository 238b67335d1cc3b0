"""Checks for `cloudcore doctor` and its like, and what they find. `doctor/runs.py` runs them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Self


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
