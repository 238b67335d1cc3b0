"""Tables that fit the terminal."""

import pytest

from supervisor.cli.text_table import align, width_of_output

COLUMNS = ("NODE", "CERTIFICATE", "UP")
ROW = {"NODE": "edge-1", "CERTIFICATE": "system:node:edge-1", "UP": "9s"}


def test_columns_are_as_wide_as_they_need() -> None:
    assert align(COLUMNS, [ROW], right={"UP"}) == [
        "NODE    CERTIFICATE         UP",
        "edge-1  system:node:edge-1  9s",
    ]


@pytest.mark.parametrize(
    ("width", "columns"),
    [
        (30, ["NODE", "CERTIFICATE", "UP"]),
        (29, ["NODE", "UP"]),
        (9, ["NODE"]),
        (1, ["NODE"]),
        (None, ["NODE", "CERTIFICATE", "UP"]),
    ],
)
def test_what_does_not_fit_is_left_out_in_order(width: int | None, columns: list[str]) -> None:
    heading, *_ = align(COLUMNS, [ROW], drop=("CERTIFICATE", "UP"), width=width)
    assert heading.split() == columns


def test_a_long_text_goes_on_in_further_lines() -> None:
    row = {"ID": "1", "WHY": "the disk is full", "UP": "9s"}
    assert align(("ID", "WHY", "UP"), [row], wrapped="WHY", width=18) == [
        "ID  WHY         UP",
        "1   the disk    9s",
        "    is full",
    ]


def test_a_pipe_has_no_width_and_columns_is_heeded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setattr("sys.stdout.isatty", lambda: False, raising=False)
    assert width_of_output() is None
    monkeypatch.setenv("COLUMNS", "80")
    assert width_of_output() == 80
