"""The table of `cloudcore status`: one line for each module, and notes if it is narrow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from supervisor.cli import text_table, words
from supervisor.cli.styles import style

#: Width that the whole table needs with short details; on less, they move below the table.
_WIDE: Final = 132

_COLUMNS: Final = (
    "NAME", "GROUP", "STATE", "PID", "UP", "RESTARTS", "CPU", "RSS", "INBOX", "LAST EXIT", "DETAILS"
)  # fmt: skip
_NARROW_COLUMNS: Final = ("NAME", "STATE", "PID", "UP", "RESTARTS", "CPU", "RSS", "INBOX")
_NUMBERS: Final = frozenset({"PID", "UP", "RESTARTS", "CPU", "RSS", "INBOX"})


def render(document: dict[str, Any], width: int | None) -> str:
    """Return the status document as lines of at most `width` characters; None is no limit."""
    modules = document["modules"]
    wide = width is None or width >= _WIDE
    disabled = {module["name"] for module in modules if not module["enabled"]}

    def paint(column: str, row: Mapping[str, str] | None, text: str) -> str:
        if row is None:
            return style(text, "bold")
        text = text_table.state(row["STATE"], text) if column == "STATE" else text
        return style(text, "dim") if row["NAME"] in disabled else text

    lines = text_table.align(
        _COLUMNS if wide else _NARROW_COLUMNS,
        [_cells(module) for module in modules],
        right=_NUMBERS,
        wrapped="DETAILS" if wide else "",
        width=width,
        paint=paint,
    )
    notes = [] if wide else list(_notes(modules, width or _WIDE))
    first = _headline(document) + text_table.state(document["state"])
    return "\n".join([first, *lines, *([""] if notes else []), *notes])


def _headline(document: dict[str, Any]) -> str:
    up = words.duration(document["uptime_seconds"])
    return f"cloudcore {document['version']}  pid {document['pid']}  up {up}  "


def _cells(module: dict[str, Any]) -> dict[str, str]:
    up = module["uptime_seconds"]
    cpu, rss = module["cpu_percent"], module["rss_bytes"]
    return {
        "NAME": module["name"],
        "GROUP": module["group"],
        "STATE": module["state"],
        "PID": words.or_dash(module["pid"]),
        "UP": words.or_dash(None if up is None else words.duration(up)),
        "RESTARTS": str(module["restarts"]),
        "CPU": words.or_dash(None if cpu is None else f"{cpu:.1f}%"),
        "RSS": words.or_dash(None if rss is None else words.size(rss)),
        "INBOX": str(module["inbox"]["messages"]),
        "LAST EXIT": words.last_exit(module["last_exit"]) or "-",
        "DETAILS": words.details(module) or "-",
    }


def _notes(modules: list[dict[str, Any]], width: int) -> Iterator[str]:
    """Yield what the narrow table has no room for: each module's last exit, and its details."""
    for module in modules:
        last = module["last_exit"]
        parts = []
        if last:
            reason = words.printable(last["reason"])
            parts.append(f"last exit: {words.last_exit(last)}{f' ({reason})' if reason else ''}")
        parts += [details] if (details := words.details(module)) else []
        if parts:
            yield style(module["name"], "bold")
        for part in parts:
            yield from (f"  {line}" for line in text_table.wrap(part, width - 2))
