"""Whether the kernel's clock is synchronized (NTP)."""

from __future__ import annotations

import ctypes
from typing import Final

#: adjtimex(2): the state of a clock that is not synchronized.
_TIME_ERROR: Final = 5
#: More than a struct timex has on any platform; all zero, it asks and changes nothing.
_STRUCT_SIZE: Final = 512


def is_synchronized() -> bool | None:
    """Return whether the clock is synchronized; None if the kernel does not say."""
    try:
        state = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(_STRUCT_SIZE))
    except (OSError, AttributeError):
        return None
    return None if state < 0 else state != _TIME_ERROR
