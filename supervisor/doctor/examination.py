"""All that `cloudcore doctor` checks: cloudcore's own checks, and those of each module."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from supervisor.api import Settings
from supervisor.checks import Check, Finding
from supervisor.config import ConfigError, Configuration, ModuleSpec
from supervisor.config.references import bad_references, running, settings_of
from supervisor.doctor import host, ports
from supervisor.doctor import running as running_cloudcore
from supervisor.doctor.running import RunningCloudcore
from supervisor.host.paths import Paths

Command = Callable[..., str]
Sections = dict[str, list[Check]]

_OWN: Final = "cloudcore"


def sections(
    load: Callable[[], Configuration],
    source: str,
    paths: Paths,
    cloudcore: RunningCloudcore,
    command: Command,
) -> Sections:
    """Return the checks by section. With a faulty configuration, those that need none.

    `load` raises ConfigError; `source` names the configuration; `command` makes command lines.
    """
    try:
        configuration = load()
    except ConfigError as error:
        found = [Finding.wrong(str(fault)) for fault in error.faults]
        return {
            _OWN: [
                Check("the configuration", lambda: found),
                *host.checks(paths, 0),
                *running_cloudcore.checks(cloudcore, paths, command),
            ]
        }
    settings = settings_of(configuration, paths)
    specs = list(running(configuration, settings))
    more = sum(spec.cls.processes(spec.config) - 1 for spec in specs)
    own = [
        Check("the configuration", lambda: _references(configuration, source, paths)),
        *host.checks(paths, len(configuration.modules) + more),
        *running_cloudcore.checks(cloudcore, paths, command),
        running_cloudcore.compare(
            cloudcore,
            [spec.name for spec in configuration.modules],
            [spec.name for spec in specs],
            command,
        ),
        *ports.checks(configuration, settings, cloudcore),
    ]
    return {_OWN: own, **{spec.name: _of_module(spec, settings, command) for spec in specs}}


def _of_module(spec: ModuleSpec, settings: Settings, command: Command) -> list[Check]:
    try:
        return list(spec.cls.checks(spec.config, settings, command))
    except Exception as error:  # another package's code: it may raise anything
        text = f"module {spec.name}: checks() failed: {type(error).__name__}: {error}"
        return [Check(f"the checks of {spec.name}", lambda: [Finding.unclear(text)])]


def _references(configuration: Configuration, source: str, paths: Paths) -> Iterator[Finding]:
    found = bad_references(configuration, paths)
    yield from (Finding.wrong(str(fault)) for fault in found)
    if not found:
        enabled = ", ".join(spec.name for spec in configuration.modules if spec.enabled)
        yield Finding.ok(f"{source} has no faults; enabled: {enabled}")
