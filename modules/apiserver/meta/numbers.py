"""Numbers in texts that clients write: int64, as everywhere in Kubernetes' API."""

from __future__ import annotations

import re
from typing import Final

LARGEST: Final = 2**63 - 1
# Digits of other scripts are none, and more of them are never looked at: int() raises ValueError
# for 4,301.
_INTEGER = re.compile(r"-?[0-9]{1,19}")


def integer(text: str) -> int | None:
    """Return the number that `text` is, None where it is none or larger than an int64."""
    if not _INTEGER.fullmatch(text):
        return None
    value = int(text)
    return value if is_int64(value) else None


def is_int64(value: int) -> bool:
    return -LARGEST - 1 <= value <= LARGEST
