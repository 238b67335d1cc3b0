"""A supervisor with modules of a test's own, in a process of its own, watched by its log."""

from __future__ import annotations

import os
import re
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil
from click.testing import CliRunner

from supervisor import client
from supervisor.cli.app import cloudcore
from tests.support.waiting import block_until
from tests.support.zygote import Forked

DEADLINE = 20.0


class Running:
    """`python -m tests.support.testbed MODULE...`; what it logs can be waited for."""

    def __init__(
        self,
        base: Path,
        *modules: str,
        sets: tuple[str, ...] = (),
        wrapper: tuple[str, ...] = (),
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.base = base
        self.admin_socket = base / "run" / "admin.sock"
        arguments = (str(base), ",".join(modules), *sets)
        self.process: Forked | subprocess.Popen[bytes]
        if wrapper or env:  # which an interpreter is to begin with
            self.process = subprocess.Popen(
                [*wrapper, sys.executable, "-m", "tests.support.testbed", *arguments],
                stderr=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                process_group=0,
                env=os.environ | (env or {}),
            )
        else:
            self.process = Forked(arguments)
        assert self.process.stderr
        os.set_blocking(self.process.stderr.fileno(), False)
        self.log = ""
        self._seen = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pids = [module["pid"] for module in self.modules_or_none() if module["pid"]]
        for pid in (self.process.pid, *pids):
            try:
                os.killpg(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.process.wait(DEADLINE)
        assert self.process.stderr
        self.process.stderr.close()

    def wait_for(self, pattern: str, timeout: float = DEADLINE) -> re.Match[str]:
        """Wait for a log line after those waited for before; AssertionError if none comes."""
        deadline = time.monotonic() + timeout
        while True:
            found = re.compile(pattern).search(self.log, self._seen)
            if found:
                self._seen = found.end()
                return found
            left = deadline - time.monotonic()
            assert left > 0, f"{pattern!r} was not logged after {self.log[self._seen :]!r}"
            assert self._read(left), f"ended before {pattern!r} was logged:\n{self.log}"

    def listen(self, seconds: float) -> None:
        """Take what it logs for so long, or until it ends."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0 and self._read(left):
            pass

    def _read(self, timeout: float) -> bool:
        """Take what it logs next, waiting for it up to so many seconds; False at its end."""
        assert self.process.stderr
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stderr, selectors.EVENT_READ)
            if not selector.select(timeout):
                return True
        data = self.process.stderr.read()
        self.log += (data or b"").decode()
        return data != b""

    def ready(self, *names: str) -> None:
        """Wait until modules have become ready, in whatever order."""
        start, ends = self._seen, [self._seen]
        for name in names:
            self._seen = start
            self.wait_for(f"module {name}: starting -> ready")
            ends.append(self._seen)
        self._seen = max(ends)

    def status(self) -> dict[str, Any]:
        document: dict[str, Any] = client.request(self.admin_socket, "GET", "/status")
        return document

    def module(self, name: str) -> dict[str, Any]:
        return next(module for module in self.status()["modules"] if module["name"] == name)

    def events(self, module: str = "") -> list[str]:
        """Every transition so far, of one module or of all, as `old -> new`."""
        found = client.request(self.admin_socket, "GET", f"/events?module={module}")
        return [f"{event['old']} -> {event['new']}" for event in found]

    def post(self, target: str) -> Any:
        return client.request(self.admin_socket, "POST", target, timeout=DEADLINE)

    def write(self, request: bytes) -> socket.socket:
        """Connect to the admin socket and write a request, or its beginning, as it stands."""
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(str(self.admin_socket))  # with a timeout a full backlog is an error
        connection.settimeout(DEADLINE)
        connection.sendall(request)
        return connection

    def cli(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the `cloudcore` command against it, in this process: its start is most of it."""
        directories = self.directories if arguments[0] not in {"config", "completion"} else ()
        command = [*arguments, *directories]
        result = CliRunner().invoke(cloudcore, command, prog_name="cloudcore")
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return subprocess.CompletedProcess(command, result.exit_code, result.stdout, result.stderr)

    @property
    def directories(self) -> list[str]:
        return ["--run-dir", str(self.base / "run"), "--data-dir", str(self.base)]

    def detail(self, module: str, key: str) -> Any:
        """Wait until a module reports something under a key that is not 0 or empty."""
        deadline = time.monotonic() + DEADLINE
        while not (found := self.module(module)["details"].get(key)):
            assert time.monotonic() < deadline, f"{module} did not report {key}:\n{self.log}"
        return found

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def wait(self) -> int:
        return self.process.wait(DEADLINE)

    def lines(self, name: str) -> list[str]:
        """Lines that a module of the testbed wrote into its notes."""
        notes = self.base / "notes" / name
        return notes.read_text().splitlines() if notes.exists() else []

    def modules_or_none(self) -> list[dict[str, Any]]:
        """Return the modules in the status document; none until it is served."""
        try:
            status = self.status()
        except (client.NotRunning, client.AdminError):
            return []
        modules: list[dict[str, Any]] = status["modules"]
        return modules if status["pid"] == self.process.pid else []


def suspend(pid: int) -> None:
    """Stop a process, and wait until it is: a signal takes effect in its own time."""
    process = psutil.Process(pid)
    process.suspend()
    block_until(lambda: process.status() == psutil.STATUS_STOPPED, interval=0)
