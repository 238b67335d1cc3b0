"""What the configuration refers to, such as files: the modules that use it check it."""

from __future__ import annotations

from collections.abc import Iterator

from supervisor.api import Settings
from supervisor.config import faults
from supervisor.config.faults import Fault
from supervisor.config.loading import Configuration, ModuleSpec
from supervisor.host.paths import Paths


def settings_of(configuration: Configuration, paths: Paths) -> Settings:
    """Return the settings that the modules get."""
    return Settings(
        paths.data_dir,
        paths.run_dir,
        configuration.kubernetes,
        configuration.admin.token_file,
        configuration.replicas,
    )


def running(configuration: Configuration, settings: Settings) -> Iterator[ModuleSpec]:
    """Yield the modules that run under this configuration."""
    for spec in configuration.modules:
        if spec.enabled and not spec.cls.not_needed(settings):
            yield spec


def bad_references(configuration: Configuration, paths: Paths) -> list[Fault]:
    """Return the faults that the modules find in what their configuration refers to."""
    settings = settings_of(configuration, paths)
    problems = [
        problem
        for spec in running(configuration, settings)
        for problem in spec.cls.problems(spec.config, settings)
    ]
    # Several modules may use, and check, the same file.
    return [faults.of_problem(configuration.layers, each) for each in dict.fromkeys(problems)]
