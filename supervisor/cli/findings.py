"""The report of checks: a mark for each finding, in 80 columns, or JSON."""

from __future__ import annotations

import json
import re
import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import click

from supervisor.checks import Check, Finding, Mark
from supervisor.cli import words
from supervisor.cli.progress import Progress
from supervisor.cli.styles import style
from supervisor.cli.text_table import width_of_output
from supervisor.doctor.runs import perform

#: Exit statuses.
ALL_WELL: Final = 0
TO_DO: Final = 1

#: Width of the report where the output has none, and the widest that is easily read.
_WIDTH: Final = 80
_WIDEST: Final = 100
_INDENT: Final = 11
_COLOURS: Final = {Mark.OK: "green", Mark.NOTE: "cyan", Mark.WRONG: "red", Mark.UNCLEAR: "yellow"}

#: Words of a command line, with quoted spaces inside.
_WORDS: Final = re.compile(r"""(?:[^\s'"\\]|\\.|'[^']*'|"[^"]*")+""")


def report(sections: Mapping[str, Sequence[Check]], output: str, timeout: float) -> int:
    """Run the checks of all sections, print what they find, and return the exit status.

    `output` is "json" or else text; `timeout` is in seconds, for each check.
    """
    checks = [check for each in sections.values() for check in each]
    section_of = {id(check): title for title, each in sections.items() for check in each}
    performed = perform(
        checks, timeout, lambda check: Progress(f"waiting for {check.title}", output)
    )
    if output == "json":
        found = [(section_of[id(check)], check, findings) for check, findings in performed]
        status = exit_status(finding for *_, findings in found for finding in findings)
        click.echo(json.dumps(_document(found, status), indent=2, ensure_ascii=False))
        return status
    seen: list[Finding] = []
    printed = ""
    for check, findings in performed:
        if findings and section_of[id(check)] != printed:
            click.echo(("\n" if printed else "") + style(section_of[id(check)], "bold"))
            printed = section_of[id(check)]
        for finding in findings:
            click.echo("\n".join(lines_of(finding, _width())))
        seen += findings
    click.echo(f"\n{summary(seen)}")
    return exit_status(seen)


def exit_status(findings: Iterator[Finding] | Sequence[Finding]) -> int:
    """Return 0 if all is well, or else 1."""
    return TO_DO if any(each.mark in (Mark.WRONG, Mark.UNCLEAR) for each in findings) else ALL_WELL


def summary(findings: Sequence[Finding]) -> str:
    """Return the last line of a report."""
    count = Counter(each.mark for each in findings)
    parts = [f"{count[Mark.WRONG]} to mend"] if count[Mark.WRONG] else []
    parts += [f"{count[Mark.UNCLEAR]} unclear"] if count[Mark.UNCLEAR] else []
    return ", ".join(parts) or "all is well"


def lines_of(finding: Finding, width: int) -> Iterator[str]:
    """Yield a finding as lines, wrapped to a width; a command can be copied from them."""
    text = words.printable(finding.text)
    margin = " " * _INDENT
    wrapped = textwrap.wrap(
        text, width - _INDENT, break_long_words=False, break_on_hyphens=False
    ) or [""]
    mark = style(f"{finding.mark:<7}", _COLOURS[finding.mark])
    yield f"  {mark}  {wrapped[0]}"
    yield from (margin + line for line in wrapped[1:])
    if finding.command:
        yield from (margin + line for line in _command_lines(finding.command, width - _INDENT))


def _command_lines(command: str, width: int) -> list[str]:
    """Wrap a command line between its words, with backslashes as a shell wants them."""
    lines = ["$"]
    for word in _WORDS.findall(words.printable(command)):
        if len(lines[-1]) + 1 + len(word) + 2 > width and lines[-1].strip() != "$":
            lines[-1] += " \\"
            lines.append(f"   {word}")
        else:
            lines[-1] += f" {word}"
    return lines


def _width() -> int:
    return min(_WIDEST, width_of_output() or _WIDTH)


def _document(found: list[tuple[str, Check, list[Finding]]], status: int) -> dict[str, object]:
    rows = [
        {
            "section": section,
            "check": check.title,
            "mark": str(finding.mark),
            "text": finding.text,
            "command": finding.command,
        }
        for section, check, findings in found
        for finding in findings
    ]
    return {"well": status == ALL_WELL, "findings": rows}
