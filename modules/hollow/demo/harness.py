"""A private cloudcore: a process on free ports, in a temporary directory."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

from supervisor import client
from supervisor.api import Settings

_COMMAND: Final = (sys.executable, "-m", "supervisor")
_FREE_PORTS: Final = (
    *("--set", "modules.apiserver.port=0"),
    *("--set", "modules.cloudhub.port=0"),
    *("--set", "modules.cloudhub.https_port=0"),
)
_LOOK_AGAIN: Final = 0.25
_STOP: Final = 10.0


class CloudcoreError(Exception):
    """The process failed or timed out; the text includes the end of its log."""


class Cloudcore:
    """A running `cloudcore run`; made by `running`."""

    def __init__(self, base: Path, process: asyncio.subprocess.Process, log: Path) -> None:
        self.settings = Settings(data_dir=base / "data", run_dir=base / "run")
        self.process = process
        self.log = log

    async def status(self) -> dict[str, Any]:
        """Return what `cloudcore status -o json` prints; raises CloudcoreError if there is none."""
        admin_socket = self.settings.run_dir / "admin.sock"
        try:
            # In a thread: the supervisor may be stopped, and then the edges here are to go on.
            document: dict[str, Any] = await asyncio.to_thread(
                client.request, admin_socket, "GET", "/status"
            )
        except (client.NotRunning, client.AdminError) as error:
            raise self.error(f"gave no status: {error}") from error
        return document

    async def module(self, name: str) -> dict[str, Any]:
        """Return the status of one module."""
        modules: list[dict[str, Any]] = (await self.status())["modules"]
        return next(module for module in modules if module["name"] == name)

    async def wait_ready(self, timeout: float) -> dict[str, Any]:
        """Wait until every module is ready, and return the status."""
        async with self._deadline(timeout, "to be ready"):
            while True:
                if self.process.returncode is not None:
                    raise self.error(f"ended with status {self.process.returncode}")
                # The admin socket is created last, before the modules start.
                if (self.settings.run_dir / "admin.sock").exists():
                    with suppress(CloudcoreError):  # a machine under load may not answer in time
                        status = await self.status()
                        if status["state"] == "running":
                            return status
                await asyncio.sleep(_LOOK_AGAIN)

    async def wait_restarted(self, name: str, old_pid: int, timeout: float) -> dict[str, Any]:
        """Wait until a module is ready again in another process than `old_pid`."""
        async with self._deadline(timeout, f"to have {name} restarted"):
            while True:
                module = await self.module(name)
                if module["state"] == "ready" and module["pid"] != old_pid:
                    return module
                await asyncio.sleep(_LOOK_AGAIN)

    async def websocket_url(self) -> str:
        """Return the URL that edges connect to."""
        listen: str = (await self.module("cloudhub"))["details"]["listen"]["websocket"]
        return f"wss://127.0.0.1:{listen.rpartition(':')[2]}"

    async def https_url(self) -> str:
        """Return the URL at which edges join."""
        listen: str = (await self.module("cloudhub"))["details"]["listen"]["https"]
        return f"https://127.0.0.1:{listen.rpartition(':')[2]}"

    async def token(self) -> str:
        """Return a new token with which edges join."""
        return (
            await self._command("token", "create", "--data-dir", self.settings.data_dir)
        ).strip()

    async def _command(self, *words: object) -> str:
        """Return what a command of cloudcore prints; raises CloudcoreError if it fails."""
        asked = await asyncio.create_subprocess_exec(
            *(*_COMMAND, *map(str, words)),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=_environment(),
        )
        out, err = await asked.communicate()
        if asked.returncode != 0:
            raise self.error(f"{words[0]} failed: {err.decode().strip()}")
        return out.decode()

    async def stop(self, timeout: float) -> None:
        """Stop cloudcore; raises CloudcoreError on a timeout or an exit status other than 0."""
        self.process.send_signal(signal.SIGTERM)
        async with self._deadline(timeout, "to stop"):
            status = await self.process.wait()
        if status != 0:
            raise self.error(f"ended with status {status} instead of 0")

    def error(self, what: str) -> CloudcoreError:
        return CloudcoreError(f"cloudcore {what}\n{self.log_tail()}")

    def log_tail(self, lines: int = 25) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    @asynccontextmanager
    async def _deadline(self, seconds: float, what: str) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(seconds):
                yield
        except TimeoutError:
            raise self.error(f"took more than {seconds:g} s {what}") from None


@asynccontextmanager
async def running(*options: str, base: Path | None = None) -> AsyncIterator[Cloudcore]:
    """Start cloudcore with additional `options`; stop it at the end.

    Its files are removed then, unless `base` is the directory in which they stay.
    """
    with ExitStack() as stack:
        if base is None:
            made = stack.enter_context(tempfile.TemporaryDirectory(prefix="cloudcore-"))
            base = Path(made)
        log = base / "log"
        settings = Settings(data_dir=base / "data", run_dir=base / "run")
        with log.open("wb") as file:
            process = await asyncio.create_subprocess_exec(
                *_COMMAND,
                "run",
                *_directories(settings),
                *_FREE_PORTS,
                *options,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,
                env=_environment(),
            )
        try:
            yield Cloudcore(base, process, log)
        finally:
            await _end(process)


async def _end(process: asyncio.subprocess.Process) -> None:
    """Stop the process, and wait: its modules write into the directory that will be removed."""
    if process.returncode is None:
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), _STOP)
        except TimeoutError:
            process.kill()
            await process.wait()


def _environment() -> dict[str, str]:
    """Return the environment without the variables that configure cloudcore."""
    return {name: value for name, value in os.environ.items() if not name.startswith("CLOUDCORE_")}


def _directories(settings: Settings) -> Sequence[str]:
    return ("--run-dir", str(settings.run_dir), "--data-dir", str(settings.data_dir))
