"""The database of a hollow edge, which outlives its connections and its restarts.

As edge/pkg/metamanager/dao: keys are the edge's resource strings, `{namespace}/{type}/{name}`, and
values are objects as they came.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Store:
    """What one edge has stored; `objects` maps key -> object. `on_change` follows each change."""

    def __init__(self, on_change: Callable[[], None] = lambda: None) -> None:
        self.objects: dict[str, Any] = {}
        self._on_change = on_change

    def get(self, key: str) -> Any:
        return self.objects.get(key)

    def put(self, key: str, value: Any) -> None:
        self.objects[key] = value
        self._on_change()

    def remove(self, key: str) -> Any:
        """Remove an object and return it; None if there was none."""
        value = self.objects.pop(key, None)
        self._on_change()
        return value

    def clear(self) -> None:
        """Lose everything, as if the database's file were deleted."""
        self.objects.clear()
        self._on_change()

    def of_type(self, kind: str) -> dict[str, Any]:
        """Return all objects of a type, as `namespace/name` -> object."""
        found = {}
        for key, value in self.objects.items():
            namespace, its_kind, name = split(key)
            if its_kind == kind:
                found[f"{namespace}/{name}"] = value
        return found


def split(key: str) -> tuple[str, str, str]:
    """Return namespace, type and name of a key; missing parts are empty."""
    namespace, _, rest = key.partition("/")
    kind, _, name = rest.partition("/")
    return namespace, kind, name
