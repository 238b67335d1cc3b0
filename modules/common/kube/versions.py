"""Which resourceVersion is later: they are numbers, as in Go's cloud."""

from __future__ import annotations

from typing import Final

#: Digits of the largest resourceVersion or time; of thousands, `int` would raise a ValueError.
_MOST_DIGITS: Final = 20


def is_newer(version: str, other: str) -> bool:
    """Whether a resourceVersion is later than another."""
    return number_of(version) > number_of(other)


def number_of(text: str) -> int:
    """Return a number that is written in digits; 0 for any other text, and for far too many."""
    return int(text) if text.isdecimal() and len(text) <= _MOST_DIGITS else 0
