"""What the commands import: most of the time of each is that, and a count does not vary."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

DEADLINE = 30

#: Runs a command, and prints the modules that it has imported besides those of click.
SCRIPT = """
import json
import sys

import click

before = set(sys.modules)
from supervisor.cli.app import cloudcore

try:
    cloudcore(sys.argv[1:])
except SystemExit:
    pass
json.dump(sorted(set(sys.modules) - before), sys.stderr)
"""

#: Needed for one exchange of JSON over a Unix socket, and by pathlib.
OF_PYTHON = {"json", "locale", "select", "selectors", "socket", "struct", "array"} | {
    *("pathlib", "fnmatch", "urllib", "ntpath", "ipaddress"),
    *("glob", "posixpath", "genericpath"),  # pathlib's from 3.13 on
}
ASKING = (
    ("status",),
    ("status", "--output", "json"),  # for a short option click imports difflib
    ("stop",),
    ("reload",),
    ("restart", "x"),
    ("enable", "x"),
    ("logs",),
    ("events",),
    ("crashes",),
    ("top", "--count", "1"),
)
#: What takes longer than a command may, for whom it is not made.
HEAVY = {
    *("pydantic", "asyncio", "rich", "yaml", "tomli", "msgspec", "cryptography", "aiohttp"),
    *("multiprocess", "psutil", "prometheus_client", "ssl", "http", "ipc", "logging"),
}


def imported(run_dir: Path, *arguments: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *arguments],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=True,
        env={"XDG_RUNTIME_DIR": str(run_dir), "HOME": str(run_dir)},
    )
    names: list[str] = json.loads(done.stderr.splitlines()[-1])
    return names


def tops(names: list[str]) -> set[str]:
    return {name.partition(".")[0] for name in names}


@pytest.mark.parametrize("command", ASKING, ids=" ".join)
def test_a_command_that_asks_the_supervisor_imports_click_and_its_own_few_files(
    command: tuple[str, ...], tmp_path: Path
) -> None:
    names = imported(tmp_path, *command, "--run-dir", str(tmp_path))
    assert "supervisor.client" in names
    of_python = {name for name in tops(names) if name in sys.stdlib_module_names}
    assert {name for name in of_python if not name.startswith("_")} <= OF_PYTHON | {"gc"}
    others = [name for name in names if name.partition(".")[0] not in sys.stdlib_module_names]
    assert tops(others) == {"supervisor"}
    assert len(others) <= 15


@pytest.mark.parametrize(
    "command",
    [("--help",), ("nodes",), ("nodes", "--help"), ("hollow", "--help"), ("certs", "--help")],
    ids=" ".join,
)
def test_help_and_commands_of_modules_import_no_library(
    command: tuple[str, ...], tmp_path: Path
) -> None:
    names = imported(tmp_path, *command)
    assert "importlib.metadata" in names
    assert not tops(names) & HEAVY
    third_party = tops(names) - set(sys.stdlib_module_names) - {"click"}
    assert third_party == {"supervisor", "modules"}


def test_entry_points_are_not_looked_up_for_a_command_of_the_table(tmp_path: Path) -> None:
    assert "importlib.metadata" not in imported(tmp_path, "status")
    assert "supervisor.cli.top" not in imported(tmp_path, "--help")
