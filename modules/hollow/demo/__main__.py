"""`make demo`: cloudcore with an old and a new simulated edge, end to end, in under a minute.

Starts cloudcore in a temporary directory on free ports, takes the steps of walk.py, and stops it.
Prints a line for each step. The exit status is 0 only if all steps succeeded.
"""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Final

import click

from modules.common.kube import KubeError
from modules.hollow.demo.harness import CloudcoreError, running
from modules.hollow.demo.walk import walking

LIMIT: Final = 45.0  # seconds for all steps; stopping a cloudcore that hangs takes up to 10 more


async def demo() -> int:
    """Run the demo and return the exit status."""
    start = time.monotonic()

    def line(mark: str, color: str, text: str) -> None:
        elapsed = time.monotonic() - start
        click.echo(f"{click.style(mark, fg=color)} {elapsed:5.1f} s  {text}")

    def seen(text: str) -> None:
        line("✓", "green", text)

    try:
        async with running() as cloudcore:
            try:
                async with asyncio.timeout(LIMIT):
                    async with walking(cloudcore, seen) as walk:
                        await walk.take()
                    await cloudcore.stop(15)
                    seen("cloudcore stopped in order, with exit status 0")
            except (TimeoutError, KubeError) as error:
                reason = str(error) or f"the demo was not done within {LIMIT:g} s"
                raise cloudcore.error(f"did not get any further: {reason}") from error
    except CloudcoreError as error:
        line("✗", "red", str(error))
        return 1
    line("✓", "green", "everything was seen")
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(demo()))
