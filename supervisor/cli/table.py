"""The table of `cloudcore status`: one line for each module, and notes if it is narrow."""

from __future__ import annotations

from typing import Any, Final

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from supervisor.cli import words

#: Width that the whole table needs with short details; on less, they move below the table.
_WIDE: Final = 132

_STYLES: Final = {
    "ready": "green",
    "starting": "yellow",
    "stopping": "yellow",
    "backoff": "yellow",
    "crashed": "red",
    "failed": "bold red",
    "running": "green",
    "degraded": "red",
}
_NARROW_COLUMNS: Final = ("NAME", "STATE", "PID", "UP", "RESTARTS", "CPU", "RSS", "INBOX")


def console() -> Console:
    """Return the console for stdout; in a pipe it does not cut long lines."""
    width = 1000 if words.piped() else None
    return Console(width=width, highlight=False, emoji=False, markup=False)


def render(document: dict[str, Any]) -> RenderableType:
    """Return the status document as a table that adapts to the width of its console."""
    return _Status(document)


class _Status:
    def __init__(self, document: dict[str, Any]) -> None:
        self._document = document

    def __rich_console__(self, console: Console, _: Any) -> Any:
        modules = self._document["modules"]
        yield Text(words.headline(self._document)) + state(self._document["state"])
        if console.width >= _WIDE:
            yield _table(words.COLUMNS, modules)
        else:
            yield Group(_table(_NARROW_COLUMNS, modules), *_notes(modules))


def _table(columns: tuple[str, ...], modules: list[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        right = column in words.NUMBERS
        table.add_column(
            column,
            justify="right" if right else "left",
            no_wrap=column != "DETAILS",
            overflow="fold",
        )
    for module in modules:
        cells = words.cells(module) | {"STATE": state(module["state"])}
        style = "" if module["enabled"] else "dim"
        table.add_row(*(cells[column] for column in columns), style=style)
    return table


def _notes(modules: list[dict[str, Any]]) -> list[RenderableType]:
    """Return what the narrow table has no room for: each module's last exit, and its details."""
    notes: list[RenderableType] = []
    for module in modules:
        last = module["last_exit"]
        parts = []
        if last:
            reason = words.printable(last["reason"])
            parts.append(f"last exit: {words.last_exit(last)}{f' ({reason})' if reason else ''}")
        parts += [details] if (details := words.details(module)) else []
        if parts:
            notes.append(Text(module["name"], style="bold"))
            notes += [
                Padding(Text(part, overflow="fold"), (0, 0, 0, 2), expand=False) for part in parts
            ]
    return [Text(""), *notes] if notes else []


def state(name: str) -> Text:
    """Return a state in its colour."""
    return Text(name, style=_STYLES.get(name, ""))
