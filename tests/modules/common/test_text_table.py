"""Tables that fit the terminal."""

import pytest

from modules.cloudhub import cli as nodes_cli
from modules.common.text_table import align, terminal_width

ROW = ("edge-1", "system:node:edge-1", "9s")


def test_columns_are_as_wide_as_they_need() -> None:
    text = align(("NODE", "CERTIFICATE", "UP"), [ROW])
    assert text.splitlines() == [
        "NODE    CERTIFICATE         UP",
        "edge-1  system:node:edge-1  9s",
    ]


@pytest.mark.parametrize(
    ("width", "headings"),
    [
        (30, ["NODE", "CERTIFICATE", "UP"]),
        (29, ["NODE", "UP"]),
        (9, ["NODE"]),
        (1, ["NODE"]),
        (None, ["NODE", "CERTIFICATE", "UP"]),
    ],
)
def test_what_does_not_fit_is_left_out_in_order(width: int | None, headings: list[str]) -> None:
    text = align(("NODE", "CERTIFICATE", "UP"), [ROW], drop=("CERTIFICATE", "UP"), width=width)
    assert text.splitlines()[0].split() == headings


def test_a_pipe_has_no_width_and_columns_is_heeded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setattr("sys.stdout.isatty", lambda: False, raising=False)
    assert terminal_width() is None
    monkeypatch.setenv("COLUMNS", "80")
    assert terminal_width() == 80


def test_nodes_fit_into_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    row = {
        "node": "edge-with-a-long-name.example",
        "since": 1.0,
        "address": "192.168.100.100:57312",
        "certificate": {"common_name": "system:node:edge", "expires": 2e9},
        "protocol": "packed",
        "messages_in": 123456,
        "messages_out": 123456,
        "queue_messages": 1000,
        "queue_bytes": 1000000,
        "keepalive": 1.0,
    }
    assert max(map(len, nodes_cli._table([row]).splitlines())) <= 80
