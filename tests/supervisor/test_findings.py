"""The report of findings: its marks, its width, its exit status."""

from __future__ import annotations

import json
import shlex
import threading

import click
import pytest

from supervisor.checks import Check, Finding
from supervisor.cli import findings, progress
from supervisor.cli.findings import report


def lines_of(finding: Finding, width: int) -> list[str]:
    return [click.unstyle(line) for line in findings.lines_of(finding, width)]


def test_a_long_text_is_wrapped_below_itself() -> None:
    lines = lines_of(Finding.wrong("word " * 40), 80)
    assert lines[0].startswith("  wrong    word word")
    assert all(line.startswith(" " * 11 + "word") for line in lines[1:])
    assert max(map(len, lines)) <= 80


def test_a_long_command_can_be_copied() -> None:
    command = f"cloudcore token create --data-dir {'/long' * 8} --config 'a b' | kubectl apply -f -"
    lines = (lines_of(Finding.note("text", command), 60))[1:]
    assert len(lines) > 1
    copied = "\n".join(line.strip() for line in lines).removeprefix("$ ").replace("\\\n", "")
    assert shlex.split(copied) == shlex.split(command)


@pytest.mark.parametrize(
    "command", ["ss -ltnp 'sport = :80'", 'echo "a  b"', r"ls a\ b", "a | b && c > d"]
)
def test_commands_stay_as_they_are(command: str) -> None:
    assert (lines_of(Finding.note("text", command), 80))[1] == f"           $ {command}"


def test_no_control_characters_reach_the_terminal() -> None:
    [line] = lines_of(Finding.ok("a\x1b[31mb\nc"), 80)
    assert line == "  ok       a [31mb c"


@pytest.mark.parametrize(
    ("finding", "status", "last"),
    [
        (Finding.ok("a"), 0, "all is well"),
        (Finding.note("a"), 0, "all is well"),
        (Finding.wrong("a"), 1, "1 to mend"),
        (Finding.unclear("a"), 1, "1 unclear"),
    ],
)
def test_exit_status(
    finding: Finding, status: int, last: str, capsys: pytest.CaptureFixture[str]
) -> None:
    sections = {"one": [Check("a", lambda: [finding])], "two": [Check("b", list)]}
    assert report(sections, "text", 20) == status
    text = capsys.readouterr().out
    assert text.splitlines()[0] == "one"
    assert "two" not in text  # it has nothing to say
    assert text.splitlines()[-1] == last
    assert report(sections, "json", 5) == status
    document = json.loads(capsys.readouterr().out)
    assert document["well"] is (status == 0)
    [row] = document["findings"]
    assert (row["section"], row["check"], row["mark"]) == ("one", "a", str(finding.mark))


def test_it_says_what_it_waits_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said = threading.Event()
    echo = progress.click.echo

    def noting(*arguments: object, **options: object) -> None:
        echo(*arguments, **options)
        if options.get("err"):
            said.set()

    def slow() -> list[Finding]:
        assert said.wait(20)
        return [Finding.ok("a")]

    monkeypatch.setattr(progress, "PATIENCE", 0.05)
    monkeypatch.setattr(progress.click, "echo", noting)
    assert report({"one": [Check("the moon", slow)]}, "text", 20) == 0
    assert capsys.readouterr().err == "waiting for the moon ...\n"
