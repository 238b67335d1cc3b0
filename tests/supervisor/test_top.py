"""`cloudcore top`: its views, their order and filter, and its keys at a terminal."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import selectors
import struct
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import pytest

from supervisor.cli.top_state import TopState
from supervisor.cli.views import CHANNELS, MODULES, ShownColumn, View, read, sample, shown, views_of
from tests.support.running import DEADLINE, Running

EDGES = View(
    "edges",
    (
        ShownColumn("NODE", "node"),
        ShownColumn("IN/s", "messages_in", "rate"),
        ShownColumn("QUEUE", "queue", "count"),
        ShownColumn("NOTE", "certificate.note", optional=True),
    ),
)


def edge(node: str, messages: int, queue: int | None) -> dict[str, Any]:
    return {"node": node, "messages_in": messages, "queue": queue, "certificate": {"note": "old"}}


def rows() -> list[dict[str, Any]]:
    before = [edge("b", 100, 1), edge("a", 100, 7), edge("C", 100, 3)]
    now = [edge("b", 400, 1), edge("a", 110, 7), edge("C", 90, 3), edge("new", 50, None)]
    return sample(EDGES, now, before, 2.0)


def names(state: TopState) -> list[str]:
    return [row["NODE"] for row in state.arrange(rows())]


def test_a_rate_is_per_second_and_begins_at_0() -> None:
    rates = {row["NODE"]: row["IN/s"] for row in rows()}
    assert rates == {"b": 150.0, "a": 5.0, "C": 0.0, "new": 0.0}
    assert rows()[0]["NOTE"] == "old"


def test_rows_are_sorted_by_numbers_from_the_largest_on_and_by_names() -> None:
    assert names(TopState(EDGES)) == ["b", "a", "C", "new"]
    assert names(TopState(EDGES, "queue")) == ["a", "C", "b", "new"]
    assert names(TopState(EDGES, "NODE")) == ["C", "a", "b", "new"]
    state = TopState(EDGES, "QUEUE")
    state.press("r", [EDGES])
    assert names(state) == ["b", "C", "a", "new"]


def test_the_filter_is_a_part_of_any_text_in_any_case() -> None:
    assert names(TopState(EDGES, filter_="c")) == ["C"]
    assert names(TopState(EDGES, filter_="OLD")) == ["b", "a", "C", "new"]
    assert names(TopState(EDGES, filter_="150")) == []


def test_keys_choose_view_order_and_filter() -> None:
    views = [MODULES, CHANNELS, EDGES]
    state = TopState(MODULES)
    state.press("3", views)
    assert state.view == EDGES
    for key, title in ((">", "NODE"), ("\x1b[C", "IN/s"), ("<", "NODE"), ("\x1b[D", None)):
        state.press(key, views)
        assert (state.sort and state.sort.title) == title
    for key in "/nq\x7fewx\x7f\n":
        state.press(key, views)
    assert state.filter == "new"
    assert names(state) == ["new"]
    state.press("\x1b", views)
    assert state.filter == ""
    state.press("\t", views)
    assert state.view == MODULES


def test_a_long_table_is_scrolled_and_fits_the_screen() -> None:
    many = sample(EDGES, [edge(f"edge-{n:02}", 0, 0) for n in range(50)], [], 1.0)
    state = TopState(EDGES)
    lines = state.screen(many, [EDGES], 80, 10)
    assert len(lines) == 10
    assert lines[2].startswith("edge-00")
    for _ in range(3):
        state.press("\x1b[B", [EDGES])
    assert state.screen(many, [EDGES], 80, 10)[2].startswith("edge-03")
    for _ in range(100):
        state.press("\x1b[B", [EDGES])
    assert state.screen(many, [EDGES], 80, 10)[-2].startswith("edge-49")


def test_the_largest_values_fit_into_80_columns() -> None:
    inbox = {"messages": 123_456, "bytes": 8 << 20, "capacity_bytes": 8 << 20}
    totals = {"sent_total": 123_456, "received_total": 123_456, "redelivered_total": 1234}
    dead = {"unanswered_total": 12, "dead_letters": 12}
    module = {
        "name": "devicecontroller-2",
        "enabled": True,
        "state": "stopping",
        "pid": 4194303,
        "cpu_percent": 199.9,
        "rss_bytes": 1023.9 * 1024 * 1024,
        "threads": 99,
        "fds": 65535,
        "inbox": inbox | totals | dead,
    }
    old = module | {"inbox": inbox | dict.fromkeys(totals, 0) | dead}
    now, before = (read(MODULES, {"modules": [each]}, Path()) for each in (module, old))
    heading, row = TopState(MODULES).table(sample(MODULES, now, before, 1.0), 80)
    plain = re.sub(r"\x1b\[\d*m", "", heading)
    assert plain.split() == ["NAME", "STATE", "CPU", "RSS", "IN/s", "DONE/s", "WAIT"]
    assert "123,456" in row
    assert max(len(plain), len(re.sub(r"\x1b\[\d*m", "", row))) <= 80


def test_values_are_shown_by_their_kind_and_are_safe_for_a_terminal() -> None:
    now = time.time()
    for kind, value, text in (
        ("text", "a\x1b[2Jb", "a [2Jb"),
        ("text", "", "-"),
        ("count", None, "-"),
        ("percent", 12.34, "12.3%"),
        ("bytes", 2048, "2.0 KiB"),
        ("rate", 1234.5, "1,234"),
        ("since", now - 90.5, "1m30s"),
        ("until", now + 3600.5, "1h"),
        ("until", now - 90.5, "-1m30s"),
    ):
        assert shown(ShownColumn("C", "c", kind), value) == text


def test_tables_of_the_status_document_are_views() -> None:
    columns = [{"title": "NODE", "field": "node", "kind": "text", "optional": False}]
    table = {"name": "x", "columns": columns, "target": "/x", "sockets": ["a.sock"]}
    *_, view = views_of({"tables": [table]})
    assert view == View("x", (ShownColumn("NODE", "node"),), "/x", ("a.sock",))


class Terminal:
    """A child process on a pseudo-terminal of 100 columns and 30 lines, and what it draws."""

    def __init__(self, arguments: list[str]) -> None:
        pid, self._descriptor = pty.fork()
        if pid == 0:
            os.environ["TERM"] = "xterm"
            os.environ.pop("COLUMNS", None)
            os.execv(sys.executable, [sys.executable, "-m", "supervisor", *arguments])
        self.pid = pid
        fcntl.ioctl(self._descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
        self.drawn = ""

    def type(self, keys: str) -> Self:
        self.drawn = ""
        os.write(self._descriptor, keys.encode())
        return self

    def wait_for(self, pattern: str) -> str:
        deadline = time.monotonic() + DEADLINE
        with selectors.DefaultSelector() as selector:
            selector.register(self._descriptor, selectors.EVENT_READ)
            while not re.search(pattern, self.plain, re.DOTALL):
                left = deadline - time.monotonic()
                assert left > 0, f"{pattern!r} is not in {self.plain!r}"
                if selector.select(left):
                    self.drawn += os.read(self._descriptor, 65536).decode("utf-8", "replace")
        return self.plain

    @property
    def plain(self) -> str:
        return re.sub(r"\x1b\[[?0-9;]*[A-Za-z]", "", self.drawn)

    def end(self) -> int:
        """Read until the process exits; return its exit status."""
        deadline = time.monotonic() + DEADLINE
        while time.monotonic() < deadline:
            try:
                self.drawn += os.read(self._descriptor, 65536).decode("utf-8", "replace")
            except OSError:  # EIO: the process has closed its terminal
                break
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


@contextmanager
def terminal(*arguments: str) -> Iterator[Terminal]:
    child = Terminal(list(arguments))
    try:
        yield child
    finally:
        os.close(child._descriptor)


def test_top_at_a_terminal_follows_its_keys(tmp_path: Path) -> None:
    with Running(tmp_path, "good", "asking") as running:
        running.ready("good", "asking")
        with terminal("top", "--interval", "0.2", "--run-dir", str(tmp_path / "run")) as top:
            top.wait_for(r"1 modules  2 channels  2 of 2.*NAME +STATE.*good +ready.*q: quit")
            top.type("2").wait_for(r"2 of 2\s+NAME +IN/s +DONE/s.*FULL.*good")
            top.type(">").wait_for(r"2 of 2  by NAME\s+NAME .*asking.*good")
            top.type("r").wait_for(r"by NAME, reversed\s+NAME .*good.*asking")
            top.type("/goo\n").wait_for(r"1 of 2.*filter: goo")
            top.type("q")
            assert top.end() == 0
            assert "\x1b[?1049l" in top.drawn


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--view", "nodes"), "no view 'nodes' (views: modules, channels)"),
        (("--sort", "SIZE"), "no column 'SIZE' in the view modules (columns: NAME, STATE,"),
    ],
)
def test_a_view_or_column_that_does_not_exist(
    tmp_path: Path, arguments: tuple[str, ...], says: str
) -> None:
    with Running(tmp_path, "good") as running:
        running.ready("good")
        refused = running.cli("top", "--count", "1", *arguments)
        assert refused.returncode == 2
        assert says in refused.stderr


def test_channels_sorted_and_filtered_without_a_terminal(tmp_path: Path) -> None:
    with Running(tmp_path, "good", "asking") as running:
        running.ready("good", "asking")
        arguments = ("--count", "1", "--interval", "0.1", "--view", "channels")
        (line,) = running.cli("top", *arguments, "--sort", "name", "-o", "json").stdout.splitlines()
        found = json.loads(line)
        assert [row["name"] for row in found] == ["asking", "good"]
        assert found[0]["inbox_capacity_bytes"] > 0
        table = running.cli("top", *arguments, "--filter", "ask").stdout.splitlines()
        assert [line.split()[0] for line in table] == ["NAME", "asking"]
