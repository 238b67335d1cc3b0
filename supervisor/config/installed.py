"""The modules that are installed: entry points of the group `cloudcore.modules`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from typing import Any, Final

from supervisor.api import Module

GROUP: Final = "cloudcore.modules"

Installed = Mapping[str, Callable[[], Any]]


class Unusable(Exception):
    """An entry point is not a module; the text says why."""


def find() -> Installed:
    """Return a loader for each installed module, by name; nothing is imported yet."""
    return {entry.name: entry.load for entry in entry_points(group=GROUP)}


def load(name: str, installed: Installed) -> type[Module]:
    """Import a module's class; raises Unusable."""
    try:
        found = installed[name]()
    except Exception as error:  # another package's code: it may raise anything
        raise Unusable(f"{name!r}: {type(error).__name__}: {error}") from error
    if not (isinstance(found, type) and issubclass(found, Module)):
        raise Unusable(f"{name!r}: {found!r} is not a Module")
    for attribute in ("name", "group"):
        if not hasattr(found, attribute):
            example = f'{attribute} = "{name}"'
            raise Unusable(f"{name!r}: {found.__qualname__} has no {attribute}: give it {example}")
    if inspect.isabstract(found):
        raise Unusable(f"{name!r}: {found.__qualname__} has no start(): give it one")
    if found.name != name:
        raise Unusable(f"{name!r}: {found.__qualname__} calls itself {found.name!r}")
    return found
