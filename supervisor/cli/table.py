"""The table of `cloudcore status`: one line a module, or two where the terminal is narrow."""

from __future__ import annotations

import json
import os
import sys
import time
from datetime import datetime
from typing import Any, Final

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

#: Columns that all of the table takes with short details; below it, they move to the foot.
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
_NUMBERS: Final = frozenset({"PID", "UP", "RESTARTS", "CPU", "RSS", "INBOX"})
_NARROW_COLUMNS: Final = ("NAME", "STATE", "PID", "UP", "RESTARTS", "CPU", "RSS", "INBOX")
_WIDE_COLUMNS: Final = (
    "NAME", "GROUP", "STATE", "PID", "UP", "RESTARTS", "CPU", "RSS", "INBOX", "LAST EXIT", "DETAILS"
)  # fmt: skip


def console() -> Console:
    """Make the console for stdout; into a pipe no line is cut, whatever its length."""
    piped = not sys.stdout.isatty() and "COLUMNS" not in os.environ
    return Console(width=1000 if piped else None, highlight=False, emoji=False, markup=False)


def render(document: dict[str, Any]) -> RenderableType:
    """Draw the status document for the width of the console that prints it."""
    return _Status(document)


class _Status:
    def __init__(self, document: dict[str, Any]) -> None:
        self._document = document

    def __rich_console__(self, console: Console, _: Any) -> Any:
        modules = self._document["modules"]
        yield _headline(self._document)
        if console.width >= _WIDE:
            yield _table(_WIDE_COLUMNS, modules)
        else:
            yield Group(_table(_NARROW_COLUMNS, modules), *_notes(modules))


def _headline(document: dict[str, Any]) -> Text:
    up = duration(_age(document["started_at"]))
    return Text.assemble(
        f"cloudcore {document['version']}  pid {document['pid']}  up {up}  ",
        state(document["state"]),
    )


def _table(columns: tuple[str, ...], modules: list[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        right = column in _NUMBERS
        table.add_column(
            column,
            justify="right" if right else "left",
            no_wrap=column != "DETAILS",
            overflow="fold",
        )
    for module in modules:
        cells = _cells(module)
        style = "" if module["enabled"] else "dim"
        table.add_row(*(cells[column] for column in columns), style=style)
    return table


def _cells(module: dict[str, Any]) -> dict[str, Text | str]:
    up = module["uptime_seconds"]
    cpu, rss = module["cpu_percent"], module["rss_bytes"]
    return {
        "NAME": module["name"],
        "GROUP": module["group"],
        "STATE": state(module["state"]),
        "PID": or_dash(module["pid"]),
        "UP": or_dash(None if up is None else duration(up)),
        "RESTARTS": str(module["restarts"]),
        "CPU": or_dash(None if cpu is None else f"{cpu:.1f}%"),
        "RSS": or_dash(None if rss is None else size(rss)),
        "INBOX": str(module["inbox"]["messages"]),
        "LAST EXIT": _last_exit(module["last_exit"]) or "-",
        "DETAILS": _details(module) or "-",
    }


def _notes(modules: list[dict[str, Any]]) -> list[RenderableType]:
    """What the narrow table has no room for: why a module last ended, and its details."""
    notes: list[RenderableType] = []
    for module in modules:
        last = module["last_exit"]
        parts = []
        if last:
            reason = printable(last["reason"])
            parts.append(f"last ended {_last_exit(last)}{f' ({reason})' if reason else ''}")
        parts += [details] if (details := _details(module)) else []
        if parts:
            notes.append(Text(module["name"], style="bold"))
            notes += [
                Padding(Text(part, overflow="fold"), (0, 0, 0, 2), expand=False) for part in parts
            ]
    return [Text(""), *notes] if notes else []


def _last_exit(last: dict[str, Any] | None) -> str:
    if not last:
        return ""
    how = last["signal"] or ("exit" if last["code"] is None else f"exit {last['code']}")
    return f"{how} {duration(_age(last['at']))} ago"


def _details(module: dict[str, Any]) -> str:
    """Why it is not ready, and what it says of itself; what is empty is for `-o json`."""
    reason = module.get("reason", "") if module["state"] != "ready" else ""
    parts = [printable(reason)] if reason else []
    parts += [f"{name}={_detail(value)}" for name, value in module["details"].items() if value]
    if dead := module["inbox"]["dead_letters"]:
        parts.append(f"dead_letters={dead}")
    return " ".join(parts)


def _detail(value: Any) -> str:
    if isinstance(value, dict) and all(isinstance(item, str | int) for item in value.values()):
        return ",".join(f"{name}:{_detail(item)}" for name, item in value.items())
    if isinstance(value, str):
        return printable(value)
    return json.dumps(value, ensure_ascii=True, separators=(",", ":"))


def printable(text: str) -> str:
    """Make a module's own words safe for a terminal, and one line."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def or_dash(value: Any) -> str:
    return "-" if value is None else str(value)


def state(name: str) -> Text:
    """Write a state in its colour."""
    return Text(name, style=_STYLES.get(name, ""))


def when(seconds: float) -> str:
    """Write a moment in local time, to the millisecond."""
    moment = time.localtime(seconds)
    return f"{time.strftime('%Y-%m-%d %H:%M:%S', moment)}.{int(seconds % 1 * 1000):03d}"


def _age(timestamp: str) -> float:
    return max(0.0, time.time() - datetime.fromisoformat(timestamp).timestamp())


def duration(seconds: float) -> str:
    """Write a time span as kubectl does: two units at most, the smaller only where it matters."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days}d{hours}h" if days < 8 and hours else f"{days}d"
    if hours:
        return f"{hours}h{minutes}m" if hours < 8 and minutes else f"{hours}h"
    if minutes:
        return f"{minutes}m{rest}s" if minutes < 10 and rest else f"{minutes}m"
    return f"{rest}s"


def size(count: float) -> str:
    """Write a number of bytes in binary units, with at most one decimal."""
    units = ["GiB", "MiB", "KiB", "B"]
    while count >= 1024 and len(units) > 1:
        count /= 1024
        units.pop()
    unit = units[-1]
    return f"{count:.0f} {unit}" if count >= 100 or unit == "B" else f"{count:.1f} {unit}"
