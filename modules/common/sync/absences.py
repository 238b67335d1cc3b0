"""How long nodes have had no Node: counted while cloudcore runs, whatever the wall clock says.

A clock that is set forward by a day would otherwise drop at once what is kept for a day, and one
that was wrong when a time was written, too.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

#: Seconds for which what is known of a node without a Node is kept.
KEEP: Final = 86_400.0
#: Seconds until what was counted is written down: a restart forgets less than that.
_WRITE: Final = 3600.0


class Absences:
    """The time of this process without a Node, by node; what earlier ones counted is passed in."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._since: dict[str, float] = {}
        """when the count of a node was written last, or began in this process"""

    def seconds(self, node: str, counted: int) -> int:
        """Return for how long a node has had no Node; `counted` seconds of it were written."""
        now = self._now()
        return counted + int(now - self._since.setdefault(node, now))

    def is_to_be_written(self, node: str) -> bool:
        """Whether the count of a node has grown enough since it was written."""
        now = self._now()
        return now - self._since.get(node, now) >= _WRITE

    def written(self, node: str) -> None:
        """Note that the count of a node was written just now."""
        self._since[node] = self._now()

    def ended(self, node: str) -> None:
        """Forget the count of a node, which has a Node or is dropped."""
        self._since.pop(node, None)

    def forget(self) -> None:
        """Forget all counts: somebody else may have counted meanwhile."""
        self._since.clear()
