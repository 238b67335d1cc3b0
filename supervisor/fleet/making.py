"""The object of a module, made of its configuration, which its processes share."""

from __future__ import annotations

import logging

from supervisor.api import Module, Problem, Settings
from supervisor.config import ConfigError, Configuration, ModuleSpec, faults

log = logging.getLogger(__name__)


def make(spec: ModuleSpec, configuration: Configuration, settings: Settings) -> Module:
    """Return the module's object. Raises ConfigError if the module's constructor fails."""
    try:
        return spec.cls(spec.config, settings)
    except Exception as error:
        log.exception("module %s: its constructor fails", spec.name)
        reason = f"the constructor of module {spec.name} fails: {type(error).__name__}: {error}"
        hint = "correct its table, or leave the module out of modules.enabled"
        problem = Problem(f"modules.{spec.name}", reason, hint)
        raise ConfigError([faults.of_problem(configuration.layers, problem)]) from error
