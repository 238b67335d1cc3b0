"""What `cloudcore run` prints once everything is up."""

from __future__ import annotations

import shlex
from typing import Any, Final

from supervisor.paths import Paths

_SCHEMES: Final = {"websocket": "wss://", "https": "https://", "http": "http://"}


def render(status: dict[str, Any], paths: Paths) -> str:
    """Say what runs, what listens where, and what to do next; `status` as `GET /status` has it."""
    modules = [module for module in status["modules"] if module["enabled"]]
    lines = [f"cloudcore {status['version']}: {_summary(modules)}", ""]
    lines += [f"  {label:<11} {text}" for label, text in _facts(modules, paths)]
    return "\n".join(lines)


def _summary(modules: list[dict[str, Any]]) -> str:
    late = [f"{module['name']} is {module['state']}" for module in modules if not _ready(module)]
    if late:
        return f"{len(modules) - len(late)} of {len(modules)} modules are ready; {', '.join(late)}"
    return f"all {len(modules)} modules are ready"


def _facts(modules: list[dict[str, Any]], paths: Paths) -> list[tuple[str, str]]:
    facts = [
        (module["name"], f"{_SCHEMES.get(listener, '')}{address}")
        for module in modules
        for listener, address in module["details"].get("listen", {}).items()
    ]
    names = {module["name"] for module in modules}
    if "apiserver" in names:
        facts.append(("kubeconfig", str(paths.kubeconfig)))
        kubectl = ["kubectl", "--kubeconfig", str(paths.kubeconfig), "get", "nodes"]
        facts.append(("kubectl", shlex.join(kubectl)))
    if "cloudhub" in names:
        facts.append(("join", f"{_command(paths, 'certs', 'issue')} NODE --out DIR"))
        facts.append(("", "then copy DIR to the edge node, and point its edgecore at cloudhub"))
        facts.append(("try", f"{_command(paths, 'hollow')} NODE    (a simulated edge node)"))
    facts.append(("status", _command(paths, "status")))
    return facts


def _command(paths: Paths, *words: str) -> str:
    return shlex.join(["cloudcore", *paths.options(), *words])


def _ready(module: dict[str, Any]) -> bool:
    return bool(module["state"] == "ready")
