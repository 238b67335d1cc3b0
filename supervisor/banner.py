"""What `cloudcore run` prints once everything is up."""

from __future__ import annotations

import logging
import shlex
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from supervisor.admin import status
from supervisor.api import Module, Settings
from supervisor.fleet.fleet import Fleet
from supervisor.host.paths import resolve
from supervisor.telemetry.output import Console

log = logging.getLogger(__name__)

_SCHEMES: Final = {"websocket": "wss://", "https": "https://", "http": "http://"}


def render(
    document: dict[str, Any], classes: Mapping[str, type[Module]], settings: Settings
) -> str:
    """Return the banner's text: which modules run, where they listen, and what to do next.

    `document` is the status document (`GET /status`); `classes` are the classes of the modules,
    which add lines of their own (`Module.banner`).
    """
    modules = [module for module in document["modules"] if module["enabled"]]
    lines = [f"cloudcore {document['version']}: {_summary(modules)}", ""]
    lines += [f"  {label:<11} {text}" for label, text in _facts(modules, classes, settings)]
    return "\n".join(lines)


def show(fleet: Fleet) -> None:
    """Print the banner; a failure is logged, since the banner must not stop cloudcore."""
    try:
        modules = {unit.name: unit.module for unit in fleet.units.values()}
        # A module's further processes have names of their own and add nothing.
        classes = {name: type(module) for name, module in modules.items() if module.name == name}
        document = msgspec.to_builtins(status.render(fleet))
        text = render(document, classes, fleet.settings)
        # A path is printed in its own bytes, so that commands with it can be copied.
        Console(1).write(f"{text}\n".encode("utf-8", "surrogateescape"))
    except Exception:
        log.exception("a bug in the supervisor: cannot print the banner")


def _summary(modules: list[dict[str, Any]]) -> str:
    if not modules:
        return "no module is enabled; name some in modules.enabled"
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


def _address(listener: str, address: str) -> str:
    scheme = _SCHEMES.get(listener)
    return f"{scheme}{address}" if scheme else f"{address} ({listener})"


def _facts(
    modules: list[dict[str, Any]], classes: Mapping[str, type[Module]], settings: Settings
) -> list[tuple[str, str]]:
    listening = {
        module["name"]: module["details"].get("listen", {})
        for module in modules
        if module["details"].get("listen")
    }
    whys = dict.fromkeys(module["details"].get("because") for module in modules)
    facts = [("because", " ".join(str(why).split())) for why in whys if why]
    facts += [
        (name, _address(listener, address))
        for name, addresses in listening.items()
        for listener, address in addresses.items()
    ]
    default = resolve()
    data = _option("--data-dir", settings.data_dir, default.data_dir)
    run = _option("--run-dir", settings.run_dir, default.run_dir)

    def command(*words: str, running: bool = False) -> str:
        return _command(*words, *(run if running else data))

    for name, addresses in listening.items():
        facts += _of_module(name, classes.get(name), addresses, settings, command)
    facts.append(("status", _command("status", *run)))
    return facts


def _of_module(
    name: str,
    cls: type[Module] | None,
    listening: Mapping[str, str],
    settings: Settings,
    command: Callable[..., str],
) -> Sequence[tuple[str, str]]:
    """Return the lines of a module's class, none if it raises: that must not stop cloudcore."""
    try:
        return cls.banner(listening, settings, command) if cls else ()
    except Exception:
        log.exception("module %s: banner() failed", name)
        return ()


def _option(name: str, path: Path, default: Path) -> list[str]:
    return [name, str(path)] if path != default else []


def _command(*words: str) -> str:
    program = "cloudcore" if shutil.which("cloudcore") else sys.argv[0]
    return shlex.join([program, *words])
