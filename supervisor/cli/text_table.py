"""Tables of text, in colour on a terminal, as wide as that is.

They do without rich: importing that takes as long as all the rest of `cloudcore status`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Final

from supervisor.cli.styles import style

#: Returns a cell in its colours: from its column, its row (None for the heading), and its text.
Paint = Callable[[str, Mapping[str, str] | None, str], str]

_GAP: Final = "  "
#: Characters that a wrapped column has at least, however narrow the terminal is.
_NARROWEST: Final = 10

_STATES: Final[Mapping[str, tuple[str, ...]]] = {
    **dict.fromkeys(("ready", "running"), ("green",)),
    **dict.fromkeys(("starting", "stopping", "backoff"), ("yellow",)),
    **dict.fromkeys(("crashed", "degraded"), ("red",)),
    "failed": ("red", "bold"),
}


def width_of_output() -> int | None:
    """Return the width of the terminal on stdout; None for a pipe or a file.

    The environment variable COLUMNS overrides it.
    """
    given = os.environ.get("COLUMNS", "")
    if given.isdigit() and int(given):
        return int(given)
    return os.get_terminal_size(sys.stdout.fileno()).columns if sys.stdout.isatty() else None


def state(name: str, text: str = "") -> str:
    """Return a text in the colour of a module's state, by default the state itself."""
    return style(text or name, *_STATES.get(name, ()))


def bold_headings(_: str, row: Mapping[str, str] | None, text: str) -> str:
    return style(text, "bold") if row is None else text


def align(
    columns: Sequence[str],
    rows: Sequence[Mapping[str, str]],
    *,
    right: Collection[str] = (),
    wrapped: str = "",
    drop: Sequence[str] = (),
    width: int | None = None,
    paint: Paint = bold_headings,
) -> list[str]:
    """Return the lines of a table, each column as wide as its widest cell.

    If the table would be wider than `width`, the columns in `drop` are left out one by one, from
    the first on, and then the texts of the column `wrapped` are wrapped.
    """
    widths = {name: max(len(name), *(len(row[name]) for row in rows), 0) for name in columns}
    for name in drop:
        if width is None or _total(widths) <= width:
            break
        del widths[name]
    if wrapped and width is not None:
        widths[wrapped] = max(_NARROWEST, widths[wrapped] - max(0, _total(widths) - width))
    headings = {name: name for name in columns}
    return [
        _line(texts, row, widths, right, paint)
        for row in (None, *rows)
        for texts in _wrapped(headings if row is None else row, wrapped, widths)
    ]


def _wrapped(
    cells: Mapping[str, str], wrapped: str, widths: Mapping[str, int]
) -> Iterator[Mapping[str, str]]:
    """Yield the cells of each line of a row; the first line has all of them."""
    if not wrapped:
        yield cells
        return
    first, *more = wrap(cells[wrapped], widths[wrapped])
    yield {**cells, wrapped: first}
    for text in more:
        yield {wrapped: text}


def _line(
    cells: Mapping[str, str],
    row: Mapping[str, str] | None,
    widths: Mapping[str, int],
    right: Collection[str],
    paint: Paint,
) -> str:
    """Return one line, each cell as wide as its column and in its colours."""
    padded = []
    last = list(widths)[-1]
    for name, width in widths.items():
        text = cells.get(name, "")
        if name in right:
            text = text.rjust(width)
        elif name != last:
            text = text.ljust(width)
        padded.append(paint(name, row, text))
    return _GAP.join(padded).rstrip()


def _total(widths: Mapping[str, int]) -> int:
    return sum(widths.values()) + len(_GAP) * (len(widths) - 1)


def wrap(text: str, width: int) -> list[str]:
    """Return a text as lines of at most `width` characters; a word that is longer is cut."""
    if len(text) <= width:
        return [text]
    from textwrap import wrap as by_words

    return by_words(text, width, break_on_hyphens=False)
