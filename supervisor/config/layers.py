"""The sources of the configuration, merged in order of precedence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import tomli

from supervisor.config.toml import format_key

Key = tuple[str, ...]

DEFAULT: Final = "default"
ENVIRONMENT_PREFIX: Final = "CLOUDCORE_"
#: Between the parts of a key in a variable's name. A variable without it is ignored: Kubernetes
#: sets CLOUDCORE_SERVICE_HOST and others for a Service named cloudcore.
_NESTING: Final = "__"


class Unreadable(Exception):
    """A source of the configuration cannot be read; `hint` says what to do."""

    def __init__(self, source: str, reason: str, hint: str) -> None:
        super().__init__(source, reason, hint)
        self.source = source
        self.reason = reason
        self.hint = hint


@dataclass
class Layers:
    """The merged tree, and the source of each of its leaves."""

    tree: dict[str, Any] = field(default_factory=dict)
    origins: dict[Key, str] = field(default_factory=dict)

    def lay(self, tree: Mapping[str, Any], source: str) -> None:
        """Merge a tree over the others: tables are merged, anything else is replaced."""
        self._merge(self.tree, tree, source, ())

    def source(self, key: Key) -> str:
        """Return the source of this key, or else of a key in it or of the table around it."""
        for length in range(len(key), 0, -1):
            near = key[:length]
            for leaf, source in reversed(self.origins.items()):
                if leaf[:length] == near:
                    return source
        return DEFAULT

    def _merge(
        self, below: dict[str, Any], above: Mapping[str, Any], source: str, table: Key
    ) -> None:
        for name, value in above.items():
            key = (*table, name)
            if isinstance(value, dict) and isinstance(below.get(name, {}), dict):
                self._merge(below.setdefault(name, {}), value, source, key)
                continue
            self._forget(key)
            below[name] = value
            for leaf in _leaves(value, key):
                self.origins[leaf] = source

    def _forget(self, key: Key) -> None:
        for leaf in [leaf for leaf in self.origins if leaf[: len(key)] == key]:
            del self.origins[leaf]


def dotted(key: Key) -> str:
    """Return a key as TOML writes it."""
    return format_key(*key)


def read_file(path: Path) -> dict[str, Any]:
    """Read a TOML file; raises Unreadable."""
    try:
        return tomli.loads(path.read_text("utf-8"))
    except OSError as error:
        hint = "--config names another file"
        raise Unreadable(str(path), error.strerror or str(error), hint) from error
    except (tomli.TOMLDecodeError, UnicodeDecodeError) as error:
        hint = "see `cloudcore config default` for an example"
        raise Unreadable(str(path), f"it is not TOML: {error}", hint) from error


def read_environment(environ: Mapping[str, str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the name and the tree of each variable CLOUDCORE_TABLE__KEY."""
    for variable in sorted(environ):
        name = variable.removeprefix(ENVIRONMENT_PREFIX)
        if name == variable or _NESTING not in name:
            continue
        key = name.lower().split(_NESTING)
        yield variable, _nest(key, parse_value(environ[variable]))


def read_set(text: str) -> dict[str, Any]:
    """Return the tree of one KEY=VALUE; raises Unreadable."""
    written, equals, value = text.partition("=")
    key = _parse_key(written)
    if not (equals and key):
        hint = "write it as modules.cloudhub.port=10010"
        raise Unreadable(f"--set {text}", "it is not KEY=VALUE", hint)
    return _nest(key, parse_value(value.strip()))


def parse_value(text: str) -> Any:
    """Return a TOML value; any other text is a string, so that few values need quotes."""
    try:
        document = tomli.loads(f"value = {text}")
    except tomli.TOMLDecodeError:
        return text
    return document["value"] if document.keys() == {"value"} else text


def _parse_key(written: str) -> list[str]:
    """Return the parts of a dotted TOML key, which may have quotes; empty if it is not one."""
    try:
        tree: Any = tomli.loads(f"{written.strip()} = 0")
    except tomli.TOMLDecodeError:
        return []
    key = []
    while isinstance(tree, dict) and len(tree) == 1:
        ((name, tree),) = tree.items()
        key.append(name)
    return key if tree == 0 else []


def _nest(key: Sequence[str], value: Any) -> dict[str, Any]:
    for name in reversed(key):
        value = {name: value}
    tree: dict[str, Any] = value
    return tree


def _leaves(value: Any, key: Key) -> Iterator[Key]:
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from _leaves(inner, (*key, name))
    else:
        yield key
