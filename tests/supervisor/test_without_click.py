"""What `cloudcore status` parses without click means the same as with it."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.cli import status_document
from supervisor.cli.app import cloudcore
from supervisor.cli.without_click import Arguments, parse
from supervisor.host import paths

HERE = str(Path(__file__).parent)
WORDS = st.sampled_from([
    *("status", "nodes", "--run-dir", "-o", "--output", "--data-dir", "-w", "--watch", "--help"),
    *("--interval", "1", "json", "table", "yaml", "text", "", "-", "--", "-ojson", "-o=json"),
    *("--output=json", "--output=", "--out", "--out=json", "--run-dir=", "--run-dir=" + HERE),
    *("--run-dir=" + __file__, "--version", "-v", HERE, __file__, HERE + "/none", "/"),
])  # fmt: skip


def by_click(words: list[str], monkeypatch: pytest.MonkeyPatch) -> Arguments | None:
    """Return what the command gets from click; None if it is not run, or gets more than that."""
    found: list[Arguments] = []

    def show(socket: Path, output: str) -> int:
        found.append(Arguments(socket.parent, output))
        return 0

    monkeypatch.setattr(status_document, "show", show)
    with contextlib.suppress(click.ClickException, SystemExit):
        cloudcore.main(list(words), prog_name="cloudcore", standalone_mode=False)
    return found[0] if found else None


@given(rest=st.lists(WORDS, max_size=5))
def test_what_is_parsed_without_click_means_the_same_with_it(rest: list[str]) -> None:
    words = ["status", *rest]
    parsed = parse(words)
    if parsed is None:
        return
    with pytest.MonkeyPatch.context() as monkeypatch:
        expected = by_click(words, monkeypatch)
    assert expected == Arguments(paths.resolve(parsed.run_dir).run_dir, parsed.output)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("status", Arguments()),
        ("status -o json", Arguments(None, "json")),
        ("status --output=table", Arguments()),
        (f"status --run-dir {HERE}", Arguments(Path(HERE))),
        (f"status --run-dir={HERE} -o table -o json", Arguments(Path(HERE), "json")),
    ],
)
def test_what_is_run_in_loops_needs_no_click(words: str, expected: Arguments) -> None:
    assert parse(words.split()) == expected


@pytest.mark.parametrize(
    "words",
    [
        *("", "nodes", "--run-dir / status", "status extra", "status --help", "status -w"),
        *("status -o", "status -o yaml", "status -o text", "status --data-dir /", "status -ojson"),
        *("status --run-dir", f"status --run-dir {__file__}", "status --run-dir=", "status --"),
    ],
)
def test_everything_else_is_left_to_click(words: str) -> None:
    assert parse(words.split()) is None


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read any directory")
def test_a_directory_that_cannot_be_read_is_left_to_click(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o000)
    assert parse(["status", "--run-dir", str(closed)]) is None
