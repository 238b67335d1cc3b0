"""docs/tutorial/module.md: its code is that of examples/guestbook, which does what it says."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from supervisor.api import ModuleContext

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "examples" / "guestbook"
PAGE = (ROOT / "docs" / "tutorial" / "module.md").read_text()
DEADLINE = 40.0


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package as pip installs it, in a directory of its own."""
    target = tmp_path_factory.mktemp("guestbook")
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    options = ("--no-index", "--no-deps", "--no-build-isolation", "--no-compile")
    subprocess.run([*pip, *options, "--target", target, EXAMPLE], check=True, timeout=DEADLINE)
    return target


class Cloudcore:
    """cloudcore with the module of the tutorial and no other."""

    def __init__(self, base: Path, installed: Path) -> None:
        config = base / "guestbook.toml"
        config.write_text(
            '[modules]\nenabled = ["guestbook"]\n\n'
            '[modules.guestbook]\ngreeting = "Good evening"\nport = 0\n'
        )
        self._directories = ("--run-dir", base / "run", "--data-dir", base / "data")
        self._environment = os.environ | {"PYTHONPATH": str(installed)}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "supervisor", "run", "--config", config, *self._directories],
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self.process.stdout
        lines = (re.match(r" +guestbook +(.+):(\d+) ", line) for line in self.process.stdout)
        match = next(filter(None, lines))
        self.address = (match[1], int(match[2]))

    def cli(self, *words: str) -> str:
        command = [sys.executable, "-m", "supervisor", *self._directories, *words]
        output = subprocess.check_output(command, env=self._environment, timeout=DEADLINE)
        return output.decode()

    def module(self) -> dict[str, Any]:
        modules = json.loads(self.cli("status", "-o", "json"))["modules"]
        return next(module for module in modules if module["name"] == "guestbook")

    def greet(self, name: str) -> str:
        with socket.create_connection(self.address, timeout=DEADLINE) as connection:
            connection.sendall(f"{name}\n".encode())
            return connection.makefile().readline()


@pytest.fixture
def running(tmp_path: Path, installed: Path) -> Iterator[Cloudcore]:
    cloudcore = Cloudcore(tmp_path, installed)
    try:
        yield cloudcore
    finally:
        cloudcore.process.terminate()
        cloudcore.process.communicate(timeout=DEADLINE)
    assert cloudcore.process.returncode == 0


def test_the_module_greets_and_forgets_nobody_when_it_is_killed(running: Cloudcore) -> None:
    assert running.greet("Ada") == "Good evening, Ada! You are guest 1.\n"
    os.kill(running.module()["pid"], signal.SIGKILL)
    assert running.greet("Grace") == "Good evening, Grace! You are guest 2.\n"
    assert running.cli("guests") == "2\n"
    assert running.module()["restarts"] == 1


def test_the_code_on_the_page_is_the_code_of_the_package() -> None:
    files = [*EXAMPLE.rglob("*.py"), EXAMPLE / "pyproject.toml"]
    package = [file.read_text() for file in files]
    blocks = re.findall(r"```(?:python|toml)\n(.*?)```", PAGE, re.DOTALL)
    assert len(blocks) == 4
    for block in blocks:
        assert any(block in text for text in package), block


def test_the_page_names_what_a_context_has() -> None:
    own = {"ready", "report", "alive", "stopping", "stopped", "sockets"}
    assert own <= set(dir(ModuleContext))
    for name in own:
        assert re.search(rf"^\| `(await )?{name}\b", PAGE, re.MULTILINE), name
