"""A file costs no more than its size, and what it may say is said in words."""

from __future__ import annotations

import itertools
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from modules.takeover.bounded_yaml import read_yaml
from supervisor.cli.app import cloudcore


def laughs(levels: int, *, merged: bool = False) -> str:
    """Return YAML whose last value stands for two to the power of `levels` values."""
    lines = ["kind: CloudCore", "a0: &a0 {k: v}"]
    for below, level in itertools.pairwise(range(levels + 1)):
        twice = f"[*a{below}, *a{below}]"
        lines.append(f"a{level}: &a{level} " + (f"{{<<: {twice}}}" if merged else twice))
    return "\n".join(lines)


@pytest.mark.parametrize("merged", [False, True])
def test_aliases_of_aliases(tmp_path: Path, merged: bool) -> None:
    file = tmp_path / "cloudcore.yaml"
    file.write_text(laughs(100, merged=merged))
    for command in (("config", "convert"), ("takeover", "check")):
        began = time.process_time()
        result = CliRunner().invoke(cloudcore, [*command, str(file)])
        assert time.process_time() - began < 5
        assert result.exit_code == 1
        assert "its aliases (*NAME) stand for too much: write the values out" in result.output


@pytest.mark.parametrize(
    "text", ["a: &a [*a]", "a: &a {b: *a}", "&a {*a : 1}", "a: &a [b, &b [*a]]\nc: *b"]
)
def test_an_alias_within_what_it_names(text: str) -> None:
    with pytest.raises(ValueError, match="stand for too much"):
        read_yaml(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("a: 1", {"a": 1}),
        ("a: &x {k: v}\nb: *x\nc: {<<: *x, l: w}", {k: {"k": "v"} for k in "ab"}),
        ("[" * 50 + "]" * 50, None),
        ("text: " + "9a" * 5000, {"text": "9a" * 5000}),
    ],
)
def test_what_files_have(text: str, value: object) -> None:
    found = read_yaml(text)
    if isinstance(found, dict) and "c" in found:
        assert found.pop("c") == {"k": "v", "l": "w"}
    assert value is None or found == value


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a: " + "9" * 5000, "line 1: a number of 5000 characters"),
        ("b: 1\na: " + "1" + ":59" * 100_000, "line 2: a number of 300001 characters"),
        ("[" * 5000, "nested too deeply"),
        ("a: 2026-99-99", "month must be in 1..12"),
    ],
)
def test_values_that_cost_too_much_or_are_none(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        read_yaml(text)
