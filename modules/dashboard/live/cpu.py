"""The CPU that modules use, from the status documents of the last seconds.

The document's own `cpu_percent` is since whoever asked before us, `cloudcore top` for example.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any, Final

#: Seconds over which the use is averaged.
_SPAN: Final = 10.0


class CpuRates:
    """The percentage of a core that each module used in the last seconds."""

    def __init__(self) -> None:
        self._points: dict[tuple[str, int], deque[tuple[float, float]]] = {}
        # (module, pid) -> (uptime, seconds of CPU), oldest first

    def add(self, modules: Iterable[dict[str, Any]]) -> dict[str, float]:
        """Note the modules of a status document, and return the percentage of each one."""
        former, self._points = self._points, {}
        rates: dict[str, float] = {}
        for module in modules:
            if module["pid"] is None or module["cpu_seconds"] is None:
                continue
            key = module["name"], module["pid"]
            points = self._points[key] = former.get(key) or deque()
            points.append((module["uptime_seconds"], module["cpu_seconds"]))
            while len(points) > 2 and points[-1][0] - points[0][0] > _SPAN:
                points.popleft()
            rates[module["name"]] = _rate(points)
        return rates


def _rate(points: deque[tuple[float, float]]) -> float:
    (began, before), (now, used) = points[0], points[-1]
    return round(100 * (used - before) / (now - began), 1) if now > began else 0.0
