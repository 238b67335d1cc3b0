"""The form of log lines, and which are shown."""

import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

from supervisor.telemetry import logs

KLOG = re.compile(
    r"(?P<letter>[DIWEF])\d{4} \d\d:\d\d:\d\d\.\d{6} (?P<module>\w+)\[(?P<pid>\d+)\] (?P<text>.*)"
)


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
    logging.captureWarnings(capture=False)
    for name in logs.OURS:
        logging.getLogger(name).setLevel(logging.NOTSET)


@pytest.mark.parametrize(
    ("level", "letter"),
    [
        (logging.DEBUG, "D"),
        (logging.INFO, "I"),
        (logging.WARNING, "W"),
        (logging.ERROR, "E"),
        (logging.CRITICAL, "F"),
    ],
)
def test_a_text_record_is_one_line_as_klog_writes_it(
    level: int, letter: str, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.setup("cloudhub", verbosity=1)
    logging.getLogger("modules.cloudhub").log(level, "node %s is here", "a")
    (line,) = capsys.readouterr().err.splitlines()
    match = KLOG.fullmatch(line)
    assert match, line
    assert match["letter"] == letter
    assert match["module"] == "cloudhub"
    assert match["pid"] == str(os.getpid())
    assert match["text"] == "node a is here"


def test_a_message_cannot_forge_a_second_record(capsys: pytest.CaptureFixture[str]) -> None:
    logs.setup("cloudhub")
    logging.getLogger("modules").info("node %s", "a\nI1123 22:20:01.1 cloudhub[1] \x1b[31mfalse")
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(r"node a\nI1123 22:20:01.1 cloudhub[1] \x1b[31mfalse")


def test_a_traceback_is_indented_beneath_its_record(capsys: pytest.CaptureFixture[str]) -> None:
    logs.setup("cloudhub")
    try:
        raise ValueError("two\nlines")
    except ValueError:
        logging.getLogger("modules").exception("failed")
    first, *others = capsys.readouterr().err.splitlines()
    assert first.endswith("failed")
    assert others[0] == "    Traceback (most recent call last):"
    assert all(line.startswith("    ") for line in others)
    assert others[-2:] == ["    ValueError: two", "    lines"]


def test_json_has_one_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    logs.setup("edgecontroller", format="json")
    try:
        raise ValueError("no")
    except ValueError:
        logging.getLogger("modules.x").exception("two\nlines: %s", "é")
    (line,) = capsys.readouterr().err.splitlines()
    record = json.loads(line)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", record.pop("ts"))
    assert "ValueError: no" in record.pop("trace")
    assert record == {
        "level": "error",
        "module": "edgecontroller",
        "pid": os.getpid(),
        "logger": "modules.x",
        "message": "two\nlines: é",
    }


def test_json_leaves_no_control_character_to_a_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logs.setup("cloudhub", format="json")
    text = "".join(map(chr, [*range(32), *range(0x7F, 0xA0)]))
    logging.getLogger("modules").warning("%s", text)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.isprintable()
    assert json.loads(line)["message"] == text


@pytest.mark.parametrize(
    ("verbosity", "shown"),
    [(0, []), (1, ["ours"]), (2, ["ours", "theirs"])],
)
def test_verbosity_shows_first_our_details_then_those_of_libraries(
    verbosity: int, shown: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    logs.setup("cloudhub", verbosity=verbosity)
    logging.getLogger("supervisor.x").debug("ours")
    logging.getLogger("aiohttp.server").debug("theirs")
    lines = capsys.readouterr().err.splitlines()
    assert [line.rpartition(" ")[2] for line in lines] == shown


def test_a_second_setup_replaces_the_first(capsys: pytest.CaptureFixture[str]) -> None:
    logs.setup("supervisor", verbosity=2)
    logs.setup("cloudhub", verbosity=0)
    logging.getLogger("modules").debug("hidden")
    logging.getLogger("modules").info("shown")
    (line,) = capsys.readouterr().err.splitlines()
    match = KLOG.fullmatch(line)
    assert match
    assert (match["module"], match["text"]) == ("cloudhub", "shown")


def test_python_warnings_become_records() -> None:
    script = (
        "import warnings; from supervisor.telemetry import logs; "
        "logs.setup('x'); warnings.warn('old news')"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=True
    )
    assert KLOG.match(result.stderr)
    assert "old news" in result.stderr
