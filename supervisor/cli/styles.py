"""Text in colours, on a terminal.

It does without click.style: importing click takes longer than all the rest of `cloudcore status`.
"""

from __future__ import annotations

import sys
from typing import Final

_CODES: Final = {
    "bold": 1,
    "dim": 2,
    "underline": 4,
    "reverse": 7,
    "red": 31,
    "green": 32,
    "yellow": 33,
    "cyan": 36,
}
_RESET: Final = "\x1b[0m"


def style(text: str, *names: str) -> str:
    """Return a text in the styles that are named, if stdout is a terminal; else as it is."""
    if not names or not sys.stdout.isatty():
        return text
    return "".join(f"\x1b[{_CODES[name]}m" for name in names) + text + _RESET
