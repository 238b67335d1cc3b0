"""The configuration in force, as TOML with the source of each value, or as data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from supervisor.config.layers import DEFAULT, Key, Layers
from supervisor.config.loading import Configuration, ModuleSpec
from supervisor.config.toml import format_key, format_value
from supervisor.unit.restart_policy import Supervision


def effective(configuration: Configuration) -> dict[str, Any]:
    """Return every key with the value in force; keys without a value are left out."""
    modules = {spec.name: _module(spec, configuration) for spec in configuration.modules}
    enabled = [spec.name for spec in configuration.modules if spec.enabled]
    return {
        "supervisor": configuration.supervisor.model_dump(
            mode="json", exclude={"after", "stop_before"}
        ),
        "log": configuration.log.model_dump(mode="json"),
        "admin": configuration.admin.model_dump(mode="json"),
        "kubernetes": asdict(configuration.kubernetes),
        "replicas": asdict(configuration.replicas),
        "modules": {"enabled": enabled, **modules},
    }


def render(configuration: Configuration) -> str:
    """Return the configuration as TOML, which can be used as a file."""
    lines = ["# The configuration in force; a comment names the source, the others are defaults."]
    lines += _table(effective(configuration), (), configuration.layers)
    return "\n".join(lines) + "\n"


def _module(spec: ModuleSpec, configuration: Configuration) -> dict[str, Any]:
    config = spec.config.model_dump(mode="json", exclude_none=True)
    inherited = configuration.supervisor.model_dump(mode="json")
    own = {
        name: value
        for name, value in spec.supervision.model_dump(mode="json").items()
        if value != inherited[name] and name in Supervision.model_fields
    }
    return config | ({"supervision": own} if own else {})


def _table(tree: Mapping[str, Any], key: Key, layers: Layers) -> Iterator[str]:
    for name, value in tree.items():
        if not isinstance(value, dict):
            source = layers.origins.get((*key, name), DEFAULT)
            note = "" if source == DEFAULT else f"  # {source}"
            yield f"{format_key(name)} = {format_value(value)}{note}"
    for name, value in tree.items():
        if isinstance(value, dict):
            inner = (*key, name)
            if not value or not all(isinstance(item, dict) for item in value.values()):
                yield ""
                yield f"[{format_key(*inner)}]"
            yield from _table(value, inner, layers)
