"""Rising rates of reports of edges, until the answers are late."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from bench.figures import say

#: Rates of reports per second to try, one after the other, and the seconds for each.
RATES = (300, 600, 750, 900, 1050, 1200)
RATE_SECONDS = 8.0
#: Kept up with: all answered half a second after the last one, and the median within this.
LATE_MEDIAN_MS = 250.0


class Edges(Protocol):
    """The edges, in a process of their own (bench/edges.py)."""

    async def ask(self, *command: Any) -> Any:
        """Give a command, and return its result."""


async def raise_rate(
    there: Edges, what: str, cpu: Callable[[], Awaitable[dict[str, float]]]
) -> dict[str, float]:
    """Raise the rate of reports until answers are late; `cpu` returns the CPU times so far."""
    figures: dict[str, float] = {}
    kept_up = 0.0
    for rate in (100, *RATES):
        before = await cpu()
        result = await there.ask("report", what, rate, RATE_SECONDS)
        used = spent(before, await cpu())
        took = [each / 1e6 for each in result["took"]]
        p50 = percentile(took, 0.5)
        say(
            f"{rate}/s: p50 {p50:.1f} ms, p99 {percentile(took, 0.99):.1f} ms, late "
            f"{result['late']}, lost {result['lost']}, "
            f"{ours(used) / result['sent'] * 1e6:.0f} us each, API "
            f"{used.get('apiserver', 0.0) / result['sent'] * 1e6:.0f} us"
        )
        if rate == 100:
            figures["at 100/s, p50"] = p50
            figures["at 100/s, p99"] = percentile(took, 0.99)
            figures["at 100/s, CPU each"] = ours(used) / result["sent"] * 1e6
            continue
        if result["late"] or result["lost"] or p50 > LATE_MEDIAN_MS:
            break
        kept_up = rate
    figures["kept up with"] = kept_up
    return figures


def spent(before: dict[str, float], after: dict[str, float]) -> dict[str, float]:
    return {name: after[name] - before[name] for name in after}


def ours(seconds: dict[str, float]) -> float:
    return sum(each for name, each in seconds.items() if name != "apiserver")


def percentile(values: list[float], part: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * part))]
