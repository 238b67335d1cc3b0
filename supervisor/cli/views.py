"""What `cloudcore top` can show: modules, channels, and the tables that modules serve."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from supervisor import client
from supervisor.cli import words

Row = dict[str, Any]

#: Seconds that one process has to answer with its part of a table.
_TIMEOUT: Final = 10.0


class ShownColumn(NamedTuple):
    """A column, as in supervisor/live_tables.py, and the key of its values in JSON."""

    title: str
    field: str
    kind: str = "text"
    optional: bool = False
    key: str = ""

    @property
    def json_key(self) -> str:
        return self.key or self.field.replace(".", "_") + ("_per_second" if self.is_rate else "")

    @property
    def is_rate(self) -> bool:
        return self.kind == "rate"

    @property
    def is_number(self) -> bool:
        return self.kind not in {"text", "state"}


class View(NamedTuple):
    """One table of `cloudcore top`; its rows are those of the status document, or of sockets."""

    name: str
    columns: tuple[ShownColumn, ...]
    target: str = ""
    sockets: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """The field that names a row."""
        return self.columns[0].field

    def column(self, title: str) -> ShownColumn | None:
        """Return the column with a title, in any case of letters."""
        return next((each for each in self.columns if each.title.lower() == title.lower()), None)


_IN = ShownColumn("IN/s", "inbox.sent_total", "rate", key="sent_per_second")
_DONE = ShownColumn("DONE/s", "inbox.received_total", "rate", key="handled_per_second")
_WAIT = ShownColumn("WAIT", "inbox.messages", "count", key="waiting")
_AGAIN = ShownColumn(
    "AGAIN", "inbox.redelivered_total", "count", optional=True, key="redelivered_total"
)

#: IN/s and DONE/s are messages sent to the module and handled by it, WAIT messages in its channel,
#: AGAIN messages delivered again after a crash.
MODULES: Final = View(
    "modules",
    (
        ShownColumn("NAME", "name"),
        ShownColumn("STATE", "state", "state"),
        ShownColumn("PID", "pid", "count", optional=True),
        ShownColumn("CPU", "cpu_percent", "percent"),
        ShownColumn("RSS", "rss_bytes", "bytes"),
        ShownColumn("THREADS", "threads", "count", optional=True),
        ShownColumn("FDS", "fds", "count", optional=True),
        *(_IN, _DONE, _WAIT, _AGAIN),
    ),
)
#: FULL is the part of the channel's bytes that is in use, LATE calls without an answer in time,
#: DEAD messages that were set aside.
CHANNELS: Final = View(
    "channels",
    (
        ShownColumn("NAME", "name"),
        *(_IN, _DONE, _WAIT),
        ShownColumn("BYTES", "inbox.bytes", "bytes"),
        ShownColumn("SIZE", "inbox.capacity_bytes", "bytes", optional=True),
        ShownColumn("FULL", "inbox.full_percent", "percent"),
        _AGAIN,
        ShownColumn("LATE", "inbox.unanswered_total", "count", optional=True),
        ShownColumn("DEAD", "inbox.dead_letters", "count"),
    ),
)


def views_of(status: Mapping[str, Any]) -> list[View]:
    """Return the views of a running cloudcore, by its status document."""
    added = [
        View(
            table["name"],
            tuple(ShownColumn(**column) for column in table["columns"]),
            table["target"],
            tuple(table["sockets"]),
        )
        for table in status.get("tables", ())
    ]
    return [MODULES, CHANNELS, *added]


def read(view: View, status: Mapping[str, Any], run_dir: Path) -> list[Row]:
    """Return the rows of a view at this moment; a process that does not run has none."""
    if not view.sockets:
        return [_with_share(module) for module in status["modules"] if module["enabled"]]
    rows: list[Row] = []
    for name in view.sockets:
        try:
            rows += client.request(run_dir / name, "GET", view.target, timeout=_TIMEOUT)
        except client.NotRunning:
            continue
    return rows


def sample(view: View, rows: Sequence[Row], before: Sequence[Row], seconds: float) -> list[Row]:
    """Return rows with the values of the view's columns, by their titles.

    Rates are those since `before`, which was `seconds` ago.
    """
    old = {row[view.key]: row for row in before}
    return [
        {
            each.title: _value(each, row, old.get(row[view.key], row), seconds)
            for each in view.columns
        }
        for row in rows
    ]


def as_json(view: View, row: Row) -> Row:
    """Return a row of a sample by the keys that its values have in JSON."""
    return {column.json_key: row[column.title] for column in view.columns}


def shown(column: ShownColumn, value: Any) -> str:
    """Return a value as the text of a cell."""
    if value is None or value == "":
        return "-"
    match column.kind:
        case "percent":
            return f"{value:.1f}%"
        case "bytes":
            return words.size(value)
        case "rate":
            return f"{value:,.0f}"
        case "since":
            return words.duration(max(0.0, time.time() - value))
        case "until":
            return words.duration(value - time.time())
    return words.printable(str(value))


def _value(column: ShownColumn, row: Row, old: Row, seconds: float) -> Any:
    value = _field(row, column.field)
    if column.is_rate and value is not None:
        return round(max(0, value - (_field(old, column.field) or 0)) / seconds, 1)
    return value


def _field(row: Row, path: str) -> Any:
    found: Any = row
    for name in path.split("."):
        found = found.get(name) if isinstance(found, dict) else None
    return found


def _with_share(module: Row) -> Row:
    inbox = module["inbox"]
    full = 100 * inbox["bytes"] / inbox["capacity_bytes"] if inbox["capacity_bytes"] else 0.0
    return module | {"inbox": inbox | {"full_percent": round(full, 1)}}
