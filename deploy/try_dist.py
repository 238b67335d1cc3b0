"""Run the wheel and the sdist of a directory from empty environments (`make try-dist`).

On each Python that cloudcore supports and this machine has: an environment with the pinned
dependencies and the package alone, outside the checkout; cloudcore starts, a simulated edge
connects, and it stops.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
PYTHONS: Final = ("python3.11", "python3.12", "python3.13", "python3.14")
#: Where pyenv keeps interpreters that are not the present one.
_PYENV: Final = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
_DEADLINE: Final = 900.0


def main(directory: Path, names: Sequence[str]) -> int:
    """Try each package on each Python, and return the exit status."""
    packages = [*directory.glob("*.whl"), *directory.glob("*.tar.gz")]
    if not packages:
        print(f"cannot try packages: there are none in {directory}; run `make dist`")
        return 1
    pythons = {name: working(name) for name in names or PYTHONS}
    absent = [name for name, python in pythons.items() if not python]
    if absent:
        print(f"not here, or without venv and ensurepip: {', '.join(absent)}", flush=True)
    if (absent and names) or not any(pythons.values()):
        return 1
    for python in filter(None, pythons.values()):
        for package in packages:
            with tempfile.TemporaryDirectory(prefix="cloudcore-") as scratch:
                version = attempt(python, package.absolute(), Path(scratch))
            print(f"{package.name} on {python}: {version}", flush=True)
    return 0


def working(name: str) -> str | None:
    """Return an interpreter of a name or path that works; pyenv has names of some that do not."""
    version = Path(name).name.removeprefix("python")
    kept = sorted(map(str, _PYENV.glob(f"{version}.*/bin/python{version}")))
    return next((each for each in (name, *kept) if shutil.which(each) and _works(each)), None)


def _works(python: str) -> bool:
    command = [python, "-c", "import venv, ensurepip"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def attempt(python: str, package: Path, scratch: Path) -> str:
    """Install one package, and use it; returns what `cloudcore version` says first."""
    environment = scratch / "environment"
    subprocess.run([python, "-m", "venv", environment], check=True, timeout=_DEADLINE)
    pip = [environment / "bin" / "python", "-m", "pip", "install", "--quiet", "--no-deps"]
    pip += ["--disable-pip-version-check"]
    pins = [f"-r{ROOT / 'requirements' / f'{name}.txt'}" for name in ("build", "run")]
    subprocess.run([*pip, *pins], check=True, cwd=scratch, timeout=_DEADLINE)
    subprocess.run(
        [*pip, "--no-build-isolation", package], check=True, cwd=scratch, timeout=_DEADLINE
    )
    for file in ("man/man1/cloudcore.1", "bash-completion/completions/cloudcore"):
        assert (environment / "share" / file).exists(), f"{package.name} lacks share/{file}"
    return use(environment / "bin" / "cloudcore", scratch)


def use(cloudcore: Path, scratch: Path) -> str:
    """Run cloudcore on free ports with directories of its own, and connect an edge."""
    at = ["--run-dir", str(scratch / "run"), "--data-dir", str(scratch / "data")]
    ports = {
        "CLOUDCORE_MODULES__CLOUDHUB__ADDRESS": "127.0.0.1",
        **dict.fromkeys(
            (
                "CLOUDCORE_MODULES__CLOUDHUB__PORT",
                "CLOUDCORE_MODULES__CLOUDHUB__HTTPS_PORT",
                "CLOUDCORE_MODULES__APISERVER__PORT",
            ),
            "0",
        ),
    }
    options = {"cwd": scratch, "env": os.environ | ports, "text": True}
    running = subprocess.Popen(
        [cloudcore, "run", *at], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, **options
    )
    try:
        _until(running, "modules are ready")
        status = json.loads(
            subprocess.check_output([cloudcore, "status", "-o", "json", *at], **options)
        )
        hub = next(each for each in status["modules"] if each["name"] == "cloudhub")
        server = f"wss://{hub['details']['listen']['websocket']}"
        edge = subprocess.Popen(
            [cloudcore, "hollow", "edge-1", "--server", server, "--data-dir", scratch / "data"],
            stdout=subprocess.PIPE,
            **options,
        )
        try:
            _until(edge, "connected")
        finally:
            _stop(edge)
    finally:
        _stop(running)
    assert running.returncode == 0, f"cloudcore run exited with {running.returncode}"
    text = subprocess.check_output([cloudcore, "version"], **options)
    return " ".join(str(text).split()[:4])


def _until(process: subprocess.Popen[str], text: str) -> None:
    assert process.stdout
    assert any(text in line for line in process.stdout), f"{process.args} never said {text!r}"


def _stop(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=_DEADLINE)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
