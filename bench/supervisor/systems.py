"""cloudcore and its peers, each configured for three similar programs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

import psutil

DEADLINE = 30.0
BIN = Path(sys.executable).parent
PEERS = BIN.parent / "peers" / "bin"
NAMES = ("first", "second", "third")
RUN = ("--run-dir", "run", "--data-dir", "data")
# What is installed is compiled; so is cloudcore's own code, after its first run.
_ENVIRONMENT = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}


@dataclass(frozen=True)
class System:
    """A supervisor: its commands, which run in the directory `base`."""

    name: str
    base: Path
    daemon: tuple[str, ...]
    status: tuple[str, ...] = ()
    pause: tuple[float, float] = (0.1, 0.2)
    """seconds from a program's readiness until it is killed: minimum and maximum"""

    @contextmanager
    def running(self) -> Iterator[psutil.Process]:
        """Run the daemon, and stop it in order."""
        environment = _ENVIRONMENT | {"PYTHONPATH": str(self.base)}
        with (
            (self.base / "output").open("ab") as output,
            subprocess.Popen(
                self.daemon, cwd=self.base, env=environment, stdout=output, stderr=output
            ) as daemon,
        ):
            try:
                yield psutil.Process(daemon.pid)
            finally:
                daemon.terminate()
                daemon.wait(DEADLINE)

    def ask_status(self) -> None:
        subprocess.run(
            self.status,
            cwd=self.base,
            env=_ENVIRONMENT,
            capture_output=True,
            timeout=DEADLINE,
            check=True,
        )


def cloudcore(base: Path, fifo: Path) -> System:
    """Return cloudcore with three modules of another package, found by their entry points."""
    package = base / "small-1.dist-info"
    package.mkdir(parents=True)
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: small\nVersion: 1\n")
    entries = "".join(f"{name} = small:{name.title()}\n" for name in NAMES)
    (package / "entry_points.txt").write_text(f"[cloudcore.modules]\n{entries}")
    (base / "small.py").write_text(
        dedent(f"""
        import os
        from supervisor.api import Module

        class Small(Module):
            group = "bench"

            def start(self, context):
                context.ready()
                with open({str(fifo)!r}, "w") as fifo:
                    fifo.write(f"{{self.name}} {{os.getpid()}}\\n")
                for message in context:
                    pass
        """)
        + "".join(f"class {name.title()}(Small):\n    name = '{name}'\n" for name in NAMES)
    )
    enabled = "modules.enabled=[" + ", ".join(f'"{name}"' for name in NAMES) + "]"
    status = (str(BIN / "cloudcore"), "status", *RUN)
    return System("cloudcore", base, _cloudcore_run(enabled), status)


def real_modules(base: Path, *, preload: bool) -> System:
    """Return cloudcore with its own four modules; without `preload` each imports by itself."""
    base.mkdir()
    ports = (
        *("modules.apiserver.port=0", "modules.cloudhub.port=0"),
        "modules.cloudhub.https_port=0",
    )
    name = "cloudcore" if preload else "cloudcore, preload = false"
    return System(name, base, _cloudcore_run(*ports, f"supervisor.preload={str(preload).lower()}"))


def _cloudcore_run(*sets: str) -> tuple[str, ...]:
    # Every crash counts as the first one: the restart is measured, not the backoff.
    sets = (*sets, "supervisor.healthy_after=0")
    return (
        str(BIN / "cloudcore"),
        "run",
        *RUN,
        *(part for text in sets for part in ("--set", text)),
    )


def supervisord(base: Path, fifo: Path) -> System:
    """Return supervisord with its defaults; programs are killed after they are RUNNING."""
    base.mkdir()
    programs = "".join(
        f"[program:{name}]\ncommand = {command}\n" for name, command in _programs(base, fifo)
    )
    (base / "supervisord.conf").write_text(
        "[unix_http_server]\nfile = %(here)s/s\n"
        "[supervisord]\nlogfile = %(here)s/log\npidfile = %(here)s/pid\n"
        "[supervisorctl]\nserverurl = unix://%(here)s/s\n"
        "[rpcinterface:supervisor]\n"
        "supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface\n"
        + programs
    )
    configured = ("-c", "supervisord.conf")
    daemon = (str(PEERS / "supervisord"), "-n", *configured)
    status = (str(PEERS / "supervisorctl"), *configured, "status")
    return System("supervisord", base, daemon, status, pause=(2.2, 3.2))


def circus(base: Path, fifo: Path, check_delay: float | None = None) -> System:
    """Return circus with its defaults (it polls every 5 s), or polling more often."""
    base.mkdir()
    watchers = "".join(
        f"[watcher:{name}]\ncmd = {command}\n" for name, command in _programs(base, fifo)
    )
    delay = f"check_delay = {check_delay}\n" if check_delay else ""
    (base / "circus.ini").write_text(
        f"[circus]\nendpoint = ipc://{base}/e\npubsub_endpoint = ipc://{base}/p\n{delay}{watchers}"
    )
    return System(
        f"circus, check_delay = {check_delay}" if check_delay else "circus",
        base,
        (str(PEERS / "circusd"), "circus.ini"),
        (str(PEERS / "circusctl"), "--endpoint", f"ipc://{base}/e", "status"),
        pause=(0.1, 0.1 + (check_delay or 5.0)),
    )


def _programs(base: Path, fifo: Path) -> list[tuple[str, str]]:
    """Return commands that do what a small module does, by name."""
    script = base / "program.py"
    script.write_text(
        dedent(f"""
        import os, signal, sys

        with open({str(fifo)!r}, "w") as fifo:
            fifo.write(f"{{sys.argv[1]}} {{os.getpid()}}\\n")
        signal.pause()
        """)
    )
    return [(name, f"{sys.executable} {script} {name}") for name in NAMES]
