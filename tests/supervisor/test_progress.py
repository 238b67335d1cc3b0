"""What commands say while they wait: live on a terminal, once elsewhere, and nothing for JSON."""

from __future__ import annotations

import io
import re
import threading
from pathlib import Path

import pytest

from supervisor.cli import progress
from supervisor.cli.progress import Progress
from tests.support.running import DEADLINE, Running


class Stream(io.StringIO):
    """A stream, or a terminal, that tells when something was written to it."""

    def __init__(self, terminal: bool) -> None:
        super().__init__()
        self._terminal = terminal
        self.written = threading.Event()

    def isatty(self) -> bool:
        return self._terminal

    def write(self, text: str) -> int:
        length = super().write(text)
        self.written.set()
        return length


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "PATIENCE", 0.05)


@pytest.mark.usefixtures("impatient")
def test_a_terminal_has_a_live_line_that_is_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Stream(terminal=True)
    monkeypatch.setattr("sys.stderr", stream)
    with Progress("waiting for a") as waiting:
        assert stream.written.wait(DEADLINE)
        waiting.text = "waiting for b"
        while "waiting for b ... " not in stream.getvalue():
            stream.written.clear()
            assert stream.written.wait(DEADLINE)
    assert re.match(r"\r\x1b\[Kwaiting for a \.\.\. \d+ s", stream.getvalue())
    assert stream.getvalue().endswith("\r\x1b[K")


@pytest.mark.usefixtures("impatient")
def test_elsewhere_it_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Stream(terminal=False)
    monkeypatch.setattr("sys.stderr", stream)
    with Progress("waiting for a") as waiting:
        assert stream.written.wait(DEADLINE)
        waiting._thread.join(DEADLINE)
        assert not waiting._thread.is_alive()
    assert stream.getvalue() == "waiting for a ...\n"


@pytest.mark.parametrize(("patience", "output"), [(600.0, "text"), (0.0, "json")])
def test_nothing_is_said_at_first_and_for_programs(
    monkeypatch: pytest.MonkeyPatch, patience: float, output: str
) -> None:
    stream = Stream(terminal=True)
    monkeypatch.setattr("sys.stderr", stream)
    monkeypatch.setattr(progress, "PATIENCE", patience)
    with Progress("waiting for a", output) as waiting:
        if output == "json":
            assert waiting._thread.ident is None
    assert stream.getvalue() == ""


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("stop", "good"), "waiting for module good to stop ...\n"),
        (("restart", "good"), "waiting for module good to be ready ...\n"),
        (("disable", "good"), "waiting for module good to stop ...\n"),
        (("reload",), "waiting for modules to be ready with the configuration ...\n"),
        (("stop",), r"waiting for cloudcore, process \d+, to exit(: good is stopping)? ...\n"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_commands_that_may_take_long_say_what_they_wait_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], says: str
) -> None:
    monkeypatch.setattr(progress, "PATIENCE", 0.0)
    with Running(tmp_path, "good") as running:
        running.ready("good")
        done = running.cli(*arguments)
        assert done.returncode == 0
        assert re.fullmatch(says.replace("...", r"\.\.\."), done.stderr)
        if arguments == ("stop",):
            running.wait()
