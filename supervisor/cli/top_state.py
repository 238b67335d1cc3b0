"""What `cloudcore top` shows of a sample: the view, the order of rows, the filter; and its keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from supervisor.cli import text_table
from supervisor.cli.styles import style
from supervisor.cli.views import Row, ShownColumn, View, shown

_HELP: Final = "Tab: next view  < >: sort  r: reverse  /: filter  arrows: scroll  q: quit"
_UP, _DOWN, _LEFT, _RIGHT = "\x1b[A", "\x1b[B", "\x1b[D", "\x1b[C"
_ESCAPE, _ENTER, _BACKSPACE = "\x1b", ("\n", "\r"), ("\x7f", "\b")


class TopState:
    """The choices of the reader; rows are in the order of their source unless `sort` is set."""

    def __init__(self, view: View, sort: str = "", filter_: str = "") -> None:
        self.view = view
        self.sort = view.column(sort)
        self.filter = filter_
        self.reverse = False
        self.editing = False
        """whether keys are letters of the filter"""
        self._offset = 0

    def press(self, key: str, views: Sequence[View]) -> None:
        """Do what a key stands for; one that stands for nothing is ignored."""
        if self.editing:
            self._edit(key)
        elif key == "\t":
            self._show(views[(self._index(views) + 1) % len(views)])
        elif key.isdigit() and 0 < int(key) <= len(views):
            self._show(views[int(key) - 1])
        elif key in {"<", _LEFT, ">", _RIGHT}:
            self._sort_by_next(-1 if key in {"<", _LEFT} else 1)
        elif key == "r":
            self.reverse = not self.reverse
        elif key == "/":
            self.editing = True
        elif key == _ESCAPE:
            self.filter = ""
        elif key in {_UP, _DOWN}:
            self._offset = max(0, self._offset + (1 if key == _DOWN else -1))

    def arrange(self, rows: Sequence[Row]) -> list[Row]:
        """Return the rows that pass the filter, in order; numbers from the largest on."""
        wanted = self.filter.lower()
        texts = [column.title for column in self.view.columns if not column.is_number]
        found = [row for row in rows if any(wanted in str(row[title]).lower() for title in texts)]
        if column := self.sort:
            known = [row for row in found if row[column.title] is not None]
            unknown = [row for row in found if row[column.title] is None]
            descending = column.is_number != self.reverse
            known.sort(key=lambda row: row[column.title], reverse=descending)
            return known + unknown
        return found[::-1] if self.reverse else found

    def table(self, rows: Sequence[Row], width: int | None) -> list[str]:
        """Return the lines of a table of rows, with as many columns as there is room for."""

        def paint(title: str, row: Mapping[str, str] | None, text: str) -> str:
            if row is None:
                sorted_by = self.sort is not None and self.sort.title == title
                return style(text, "bold", *(["underline"] if sorted_by else []))
            return text_table.state(row[title], text) if title == "STATE" else text

        columns = self.view.columns
        return text_table.align(
            [column.title for column in columns],
            [{each.title: shown(each, row[each.title]) for each in columns} for row in rows],
            right={column.title for column in columns if column.is_number},
            drop=[column.title for column in reversed(columns) if column.optional],
            width=width,
            paint=paint,
        )

    def screen(
        self, rows: Sequence[Row], views: Sequence[View], width: int, height: int
    ) -> list[str]:
        """Return the lines of the whole screen: the views, the table, and what the keys do."""
        arranged = self.arrange(rows)
        room = max(1, height - 3)  # without the line of views, the headings and the last line
        self._offset = min(self._offset, max(0, len(arranged) - room))
        table = self.table(arranged, width)
        visible = [table[0], *table[1 + self._offset : 1 + self._offset + room]]
        visible += [""] * (room + 1 - len(visible))
        return [self._headline(views, len(arranged), len(rows)), *visible, self._last_line()]

    def _headline(self, views: Sequence[View], shown_rows: int, all_rows: int) -> str:
        names = [
            style(f"{number} {view.name}", *(["reverse"] if view == self.view else []))
            for number, view in enumerate(views, 1)
        ]
        order = f"  by {self.sort.title}" if self.sort else ""
        order += ", reversed" if self.reverse else ""
        return f"{'  '.join(names)}  {shown_rows} of {all_rows}{order}"

    def _last_line(self) -> str:
        if self.editing or self.filter:
            cursor = "_" if self.editing else "  (Esc: show all)"
            return f"filter: {self.filter}{cursor}"
        return style(_HELP, "dim")

    def _index(self, views: Sequence[View]) -> int:
        return next((n for n, view in enumerate(views) if view.name == self.view.name), 0)

    def _show(self, view: View) -> None:
        if view != self.view:
            self.view, self.sort, self.reverse, self._offset = view, None, False, 0

    def _sort_by_next(self, step: int) -> None:
        orders: list[ShownColumn | None] = [None, *self.view.columns]
        self.sort = orders[(orders.index(self.sort) + step) % len(orders)]

    def _edit(self, key: str) -> Any:
        if key in _ENTER:
            self.editing = False
        elif key == _ESCAPE:
            self.editing, self.filter = False, ""
        elif key in _BACKSPACE:
            self.filter = self.filter[:-1]
        elif key.isprintable():
            self.filter += key
