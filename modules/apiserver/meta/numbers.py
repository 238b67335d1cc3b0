"""Integers that clients send as text: int64, as everywhere in the Kubernetes API."""

from __future__ import annotations

import re
from typing import Final

LARGEST: Final = 2**63 - 1
# ASCII digits only; the length is limited because int() raises ValueError from 4,301 digits on.
_INTEGER = re.compile(r"-?[0-9]{1,19}")


def integer(text: str) -> int | None:
    """Parse `text`; return None if it is not an integer or does not fit into an int64."""
    if not _INTEGER.fullmatch(text):
        return None
    value = int(text)
    return value if is_int64(value) else None


def is_int64(value: int) -> bool:
    return -LARGEST - 1 <= value <= LARGEST
