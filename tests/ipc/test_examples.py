"""Each example runs with the command in its first line, and prints what it should."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

SAID = {
    "talk": {
        "talker says 'hello' about weather",
        "talker says b'bytes' about weather",
        "talker says {'n': 3} about weather",
    },
    "broadcast": {
        "north heard 'it is open'",
        "south heard 'it is open'",
        "west heard 'it is open'",
    },
    "question": {
        "the sum of [0, 1] is 1",
        "the sum of [1, 2] is 3",
        "the sum of [2, 3] is 5",
    },
    "poison": {
        "bread is done",
        "the worker ended with -6",
        "wine is done",
        "the worker ended with 0",
        "dead letter: poison (the module died 2 times while it handled this message)",
    },
}


@pytest.mark.parametrize("name", SAID)
def test_an_example_does_what_it_says(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", f"examples.{name}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=50,
        check=True,
        env=os.environ | {"PYTHONUNBUFFERED": ""},  # lines of several processes stay whole
    )
    assert set(done.stdout.splitlines()) == SAID[name]
    assert done.stderr == ""


def test_every_example_is_run() -> None:
    found = {path.stem for path in (ROOT / "examples").glob("[!_]*.py")}
    assert found == set(SAID)
