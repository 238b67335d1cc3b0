"""The running cloudcore, as the doctor sees it: is there one, and are its modules ready."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from functools import cached_property
from typing import Any

from supervisor import client
from supervisor.checks import Check, Finding
from supervisor.host.paths import Paths


class RunningCloudcore:
    """What the running cloudcore says of itself; it is asked once."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths

    @property
    def status(self) -> dict[str, Any] | None:
        """The status document; None if cloudcore is not running. Raises AdminError."""
        if isinstance(self._answer, client.AdminError):
            raise self._answer
        return self._answer

    @cached_property
    def _answer(self) -> dict[str, Any] | client.AdminError | None:
        try:
            document: dict[str, Any] = client.request(self._paths.admin_socket, "GET", "/status")
        except client.NotRunning:
            return None
        except client.AdminError as error:
            return error
        return document

    def listening(self) -> dict[str, int]:
        """Return the addresses at which it listens, as HOST:PORT, with the pid."""
        status = self.status or {"modules": ()}
        return {
            address: status["pid"]
            for module in status["modules"]
            for address in module["details"].get("listen", {}).values()
        }


def checks(running: RunningCloudcore, paths: Paths, command: Callable[..., str]) -> list[Check]:
    """Return the checks whether cloudcore runs with all its modules, and of dead letters."""

    def look() -> Iterator[Finding]:
        try:
            status = running.status
        except client.AdminError as error:
            yield Finding.wrong(f"the running cloudcore does not answer: {error}")
            return
        if status is None:
            yield Finding.note("cloudcore is not running", command("run"))
            return
        data_dir = str(paths.data_dir)
        if status.get("data_dir") != data_dir:
            used = status.get("data_dir")
            yield Finding.wrong(
                f"the cloudcore in {paths.run_dir} uses the data directory {used}, and here "
                f"{data_dir} is looked at; give its --data-dir"
            )
        late = [each for each in status["modules"] if each["enabled"] and each["state"] != "ready"]
        yield from (_not_ready(module, command) for module in late)
        troubled = [each for each in status["modules"] if each["state"] == "ready" and _why(each)]
        for module in troubled:
            text = f"module {module['name']} is ready, but {_why(module)}"
            yield Finding.wrong(text, command("logs", module["name"]))
        if not late and not troubled:
            yield Finding.ok(f"cloudcore runs as process {status['pid']}, all modules are ready")

    def dead_letters() -> Iterator[Finding]:
        from ipc import DeadLetterBox

        for module, count in sorted(DeadLetterBox(paths.dead_letters_dir).counts().items()):
            letters = f"{count} dead {'letter' if count == 1 else 'letters'}"
            text = f"{module} has {letters}: messages that could not be handled"
            yield Finding.wrong(text, command("dead-letters", "list"))

    return [Check("the running cloudcore", look), Check("the dead letters", dead_letters)]


def compare(
    running: RunningCloudcore,
    known: Collection[str],
    named: Collection[str],
    command: Callable[..., str],
) -> Check:
    """Return the check whether the running cloudcore has the modules of this configuration.

    `known` are all modules that can be named, `named` those that this configuration has run.
    """

    def look() -> Iterator[Finding]:
        try:
            status = running.status
        except client.AdminError:  # has a finding of its own
            return
        if status is None:
            return
        run = {each["name"] for each in status["modules"] if each["enabled"]}
        more = [name for name in known if name in run and name not in named]
        less = [name for name in named if name not in run]
        differences = [f"with {', '.join(more)}"] if more else []
        differences += [f"without {', '.join(less)}"] if less else []
        if differences:
            yield Finding.note(
                "the running cloudcore has another configuration: "
                f"{' and '.join(differences)}; to check that, leave out --config and --set; to "
                "apply a changed file, reload",
                command("reload"),
            )

    return Check("the configuration of the running cloudcore", look)


def _not_ready(module: dict[str, Any], command: Callable[..., str]) -> Finding:
    name, state = module["name"], module["state"]
    why = module.get("reason") or (module["last_exit"] or {}).get("reason") or ""
    text = f"module {name} is {state}{f': {why}' if why else ''}"
    if why.startswith("waits for "):  # what it waits for has a finding of its own
        return Finding.wrong(text)
    if state == "stopped":
        return Finding.wrong(text, command("start", name))
    if module["last_exit"]:
        return Finding.wrong(text, command("crashes", name, "--last"))
    return Finding.wrong(text, command("logs", name))


def _why(module: dict[str, Any]) -> str:
    """Return what is wrong with a module that is ready: it is suspended, its disk is full."""
    return str(module.get("reason") or module["details"].get("trouble") or "")
