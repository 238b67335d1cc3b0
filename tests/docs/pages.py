"""The commands on a page of the documentation, and a machine of its own to run them on.

A block in `sh` is run as a script. A block in `console` has commands after `$`, each with its
output below it, which is compared in form: numbers, ages and digests may differ, `…` stands for
anything in a line, and a line with `...` alone for any lines. A comment before a block says what a
reader knows:

    <!-- not run: REASON -->    the block needs something that a test has not
    <!-- as: COMMAND -->        this is run in its place
    <!-- stays: TEXT -->        it goes on in another terminal, once it has said TEXT
    <!-- first: COMMAND -->     this is run before, and stays until it has said TEXT
"""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

ROOT = Path(__file__).parents[2]
DEADLINE = 60.0
_UNSHARE = ("unshare", "--mount", "--net", "--pid", "--fork")
_BLOCK = re.compile(
    r"((?:^ *<!-- [^\n]+ -->\n)*)^ *```(sh|console)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL
)
_NOTE = re.compile(r"^ *<!-- (not run|as|first|stays): ([^\n]+) -->$", re.MULTILINE)


@dataclass
class Step:
    """A command, and the lines that it should print; None: any."""

    command: str
    output: list[str] | None = None
    stays: str = ""
    """what it prints when the next command may follow; empty: it ends"""


@dataclass
class Page:
    """The steps of a page, and the reasons for blocks that are not run."""

    steps: list[Step] = field(default_factory=list)
    not_run: list[str] = field(default_factory=list)


def read(text: str) -> Page:
    """Read the blocks of a page."""
    page = Page()
    for comments, language, indented in _BLOCK.findall(text):
        body = textwrap.dedent(indented)
        notes = dict(_NOTE.findall(comments))
        if "not run" in notes:
            page.not_run.append(notes["not run"])
            continue
        if "first" in notes:
            page.steps.append(Step(notes["first"], stays=notes.pop("stays")))
        if "as" in notes:
            page.steps.append(Step(notes["as"], stays=notes.get("stays", "")))
        elif language == "sh" or "stays" in notes:
            command = re.sub(r"^\$ ", "", body) if language == "console" else body
            page.steps.append(Step(command, stays=notes.get("stays", "")))
        else:
            page.steps += _commands(body)
    return page


def _commands(body: str) -> Iterator[Step]:
    step: Step | None = None
    for line in body.splitlines():
        if line.startswith("$ "):
            if step:
                yield step
            step = Step(line[2:], [])
        else:
            assert step and step.output is not None, f"output before a command: {line}"
            if step.command.endswith("\\"):
                step.command += f"\n{line}"
            else:
                step.output.append(line)
    if step:
        yield step


def form(line: str) -> str:
    """Return a line with what differs from run to run made equal."""
    line = re.sub(r"\b[0-9a-f]{8,}\b", "H", line)
    line = re.sub(r"\b\d{4}-\d\d-\d\d(T[\d:.]+Z?)?\b", "D", line)
    line = re.sub(r"\b(\d+(\.\d+)?(d|h|m|ms|s|us))+\b", "T", line)
    line = re.sub(r"\d+(\.\d+)*", "0", line)
    return " ".join(line.split())


def matches(expected: list[str], printed: list[str]) -> bool:
    """Say whether lines were printed as the page has them, in form.

    Those that say what a command waits for are not compared: they come on a slow machine alone.
    """
    printed = [line for line in printed if not line.startswith("waiting for ")]
    pattern = "".join(
        r"(?:[^\n]*\n)*?"
        if line.strip() == "..."
        else re.escape(form(line)).replace("…", r"[^\n]*") + "\n"
        for line in expected
    )
    return re.fullmatch(pattern, "".join(f"{form(line)}\n" for line in printed)) is not None


class Machine:
    """A shell with directories, processes and a loopback of its own, which end with it."""

    _SET_UP = """
        mount --make-rprivate / && for each in /run /var/lib /var/backups; do
            mount -t tmpfs -o mode=755 own "$each"; done
        ip link set lo up && mkdir /run/home && cd /run/home && export HOME=/run/home
        unset XDG_RUNTIME_DIR XDG_STATE_HOME KUBECONFIG COLUMNS
    """

    _WAIT = """
        while read -r line <&3; do echo "$line"; [[ $line == *"$text"* ]] && break; done
        [[ $line == *"$text"* ]] && { cat <&3 >/dev/null & }
    """

    def __init__(self) -> None:
        self._marks = 0

    def __enter__(self) -> Self:
        self._shell = subprocess.Popen(
            [*_UNSHARE, "--ipc", "--kill-child", "--mount-proc", "bash", "--norc"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        self.run(self._SET_UP)
        self.run(f"export PATH={Path(sys.executable).parent}:$PATH")
        return self

    def __exit__(self, *_: object) -> None:
        self._shell.kill()
        self._shell.communicate(timeout=DEADLINE)

    def run(self, command: str) -> list[str]:
        """Run a command, and return the lines that it printed; fails if its status is not 0."""
        self._marks += 1
        mark = f"--- done {self._marks}:"
        lines = self._until(f"{{\n{command}\n}} </dev/null; printf '\\n%s %s\\n' '{mark}' $?", mark)
        *printed, last = lines
        if printed and not printed[-1]:
            printed.pop()  # of a last line that ended as it should
        assert last == f"{mark} 0", "\n".join([command, *lines])
        return printed

    def stay(self, command: str, text: str) -> None:
        """Start a command that stays, and wait until it prints the text."""
        self._until(f"exec 3< <(exec 2>&1; {command.strip()}\n)", "")
        self.run(f"text='{text}'; {self._WAIT}")

    def _until(self, script: str, mark: str) -> list[str]:
        assert self._shell.stdin and self._shell.stdout
        self._shell.stdin.write(f"{script}\n")
        self._shell.stdin.flush()
        lines: list[str] = []
        while mark and not (lines and lines[-1].startswith(mark)):
            line = self._shell.stdout.readline()
            assert line, "the shell has ended:\n" + "\n".join(lines)
            lines.append(line.rstrip("\n"))
        return lines


def can_be_made() -> bool:
    """Say whether this user may make a Machine here."""
    done = subprocess.run([*_UNSHARE, "true"], capture_output=True, check=False, timeout=DEADLINE)
    return done.returncode == 0
