"""What the commands import: most of the time of each is that, and a count does not vary."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.supervisor import test_options

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
    *("lightkube", "google", "picows", "uvloop", "h11"),
}
#: With ipc, whose files.py replaces a file in one step.
FILES = {"ipc", "asyncio", "ssl", "logging", "msgspec"}
LOADING = {"pydantic", "tomli"}
SIGNING = {"cryptography"}
#: What a command imports of HEAVY; all of it if it asks the API server.
USED = {
    "certs init": FILES | LOADING | SIGNING,
    "certs issue": FILES | SIGNING,
    "certs list": FILES | SIGNING,
    "certs renew": FILES | LOADING | SIGNING,
    "completion": set(),
    "config check": FILES | LOADING,
    "config convert": {"pydantic", "yaml"},
    "config default": LOADING | {"logging"},
    "config show": FILES | LOADING,
    "crashes": FILES,
    "crds": {"yaml"},
    "dashboard": FILES,
    "dead-letters drop": FILES,
    "dead-letters list": FILES,
    "dead-letters replay": FILES,
    "dead-letters show": FILES,
    "doctor": HEAVY - {"rich", "multiprocess", "google", "picows", "uvloop", "h11"},
    "hollow": FILES | SIGNING | {"google", "picows", "http"},
    "run": set(),  # without a configuration that can be used
    "takeover check": HEAVY - {"rich", "multiprocess", "google", "picows", "uvloop", "h11"},
    "token create": FILES | LOADING | SIGNING | {"psutil"},
    "token list": FILES | SIGNING | {"psutil"},
    "token revoke": FILES | LOADING | SIGNING | {"psutil"},
    "version": set(),
}
ARGUMENTS = {
    "certs issue": ("node", "--out", "x"),
    "completion": ("bash",),
    "config convert": ("/dev/null",),
    "run": ("--nonsense",),
    "takeover check": ("/dev/null",),
    "token revoke": ("1",),
    "hollow": ("node",),
    "dead-letters show": ("id",),
    "dead-letters replay": ("id",),
    "dead-letters drop": ("id",),
    **dict.fromkeys(("restart", "start", "enable", "disable"), ("m",)),
}


def imported(run_dir: Path, *arguments: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *arguments],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=True,
        cwd=run_dir,
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
    assert len(others) <= 16


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


@pytest.mark.parametrize("command", test_options.COMMANDS)
def test_a_command_imports_only_the_libraries_that_it_needs(command: str, tmp_path: Path) -> None:
    taken = test_options.USED.get(command, {"run_dir", "data_dir"})
    directories = [
        word
        for name, option in (("run_dir", "--run-dir"), ("data_dir", "--data-dir"))
        if name in taken
        for word in (option, str(tmp_path))
    ]
    names = imported(tmp_path, *command.split(), *ARGUMENTS.get(command, ()), *directories)
    assert tops(names) & HEAVY <= USED.get(command, set())


def test_status_imports_no_click(tmp_path: Path) -> None:
    run = f"import sys; sys.argv = ['cloudcore', 'status', '--run-dir', {str(tmp_path)!r}]\n"
    run += "from supervisor.cli import main\ntry:\n main()\nexcept SystemExit:\n pass\n"
    run += "print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", run], capture_output=True, text=True, timeout=DEADLINE, check=True
    )
    names = done.stdout.split()
    assert "supervisor.cli.status_table" in names
    assert "click" not in names
    assert len([name for name in names if name.startswith("supervisor")]) <= 12
