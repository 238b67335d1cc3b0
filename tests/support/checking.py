"""The checks of modules, performed as `cloudcore doctor` performs them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from supervisor.api import Check, Finding
from supervisor.doctor.runs import perform


def command(*words: str) -> str:
    return " ".join(("cloudcore", *words))


async def performed(checks: Sequence[Check], *titles: str) -> list[Finding]:
    """Return what the checks of these titles find, or all; the test's event loop goes on."""
    chosen = [check for check in checks if check.title in titles or not titles]
    assert chosen, [check.title for check in checks]

    def run() -> list[Finding]:
        return [finding for _, findings in perform(chosen, 10.0) for finding in findings]

    return await asyncio.to_thread(run)
