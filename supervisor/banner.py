"""What `cloudcore run` prints once everything is up."""

from __future__ import annotations

import logging
import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from supervisor.output import Console
from supervisor.paths import Paths, resolve

if TYPE_CHECKING:
    from supervisor.supervisor import Supervisor

log = logging.getLogger(__name__)

_SCHEMES: Final = {"websocket": "wss://", "https": "https://"}

#: Where `cloudcore hollow` looks for cloudhub unless it is told.
_HOLLOW_PORT: Final = "10000"


def render(status: dict[str, Any], paths: Paths) -> str:
    """Say what runs, what listens where, and what to do next; `status` as `GET /status` has it."""
    modules = [module for module in status["modules"] if module["enabled"]]
    lines = [f"cloudcore {status['version']}: {_summary(modules)}", ""]
    lines += [f"  {label:<11} {text}" for label, text in _facts(modules, paths)]
    return "\n".join(lines)


def show(supervisor: Supervisor) -> None:
    """Print it; a failure is logged, for what is only told ends nothing."""
    try:
        text = render(msgspec.to_builtins(supervisor.status()), supervisor.paths)
        # A path is printed in its own bytes, so that commands with it can be copied.
        Console(1).write(f"{text}\n".encode("utf-8", "surrogateescape"))
    except Exception:
        log.exception("a bug in the supervisor: the banner cannot be printed")


def _summary(modules: list[dict[str, Any]]) -> str:
    late = [
        f"{module['name']} is {module['state']}" for module in modules if module["state"] != "ready"
    ]
    if late:
        return f"{len(modules) - len(late)} of {len(modules)} modules are ready; {', '.join(late)}"
    waiting = "".join(
        f"; {module['name']} waits for {module['details']['waiting_for']}"
        for module in modules
        if module["details"].get("waiting_for")
    )
    return f"all {len(modules)} modules are ready{waiting}"


def _facts(modules: list[dict[str, Any]], paths: Paths) -> list[tuple[str, str]]:
    listening = {
        module["name"]: module["details"].get("listen", {})
        for module in modules
        if module["details"].get("listen")
    }
    facts = [
        (name, f"{_SCHEMES.get(listener, '')}{address}")
        for name, addresses in listening.items()
        for listener, address in addresses.items()
    ]
    if "apiserver" in listening:
        facts.append(("kubeconfig", str(paths.kubeconfig)))
        facts.append(("kubectl", f"kubectl --kubeconfig {_quoted(paths.kubeconfig)} get nodes"))
    default = resolve()
    data = ["--data-dir", str(paths.data_dir)] if paths.data_dir != default.data_dir else []
    run = ["--run-dir", str(paths.run_dir)] if paths.run_dir != default.run_dir else []
    if websocket := listening.get("cloudhub", {}).get("websocket"):
        port = websocket.rpartition(":")[2]
        server = ["--server", f"wss://127.0.0.1:{port}"] if port != _HOLLOW_PORT else []
        facts.append(("join", _command("certs", "issue", "NODE", "--out", "DIR", *data)))
        facts.append(("", "then take DIR to the edge node, and point its edgecore at cloudhub"))
        facts.append(("or try", _command("hollow", "NODE", *server, *data)))
        facts.append(("", "a simulated edge node"))
    facts.append(("status", _command("status", *run)))
    return facts


def _command(*words: str) -> str:
    program = "cloudcore" if shutil.which("cloudcore") else sys.argv[0]
    return shlex.join([program, *words])


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))
