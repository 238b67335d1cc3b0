"""Whatever happens to three replicas and their edges, in the end each edge has what the API says.

As test_convergence.py, and replicas are killed with all their processes, stopped, frozen for longer
than their Leases and cut off the API and off edges, which move between them. `make soak` runs
hundreds of other examples.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from hypothesis import given

from .histories import SOAK, histories, of_replicas, people, tried
from .replicated_world import ReplicatedWorld, living_replicas


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module")
def world(runner: asyncio.Runner) -> Iterator[ReplicatedWorld]:
    """Three replicas for all examples: each goes on from where the one before has ended."""
    stack = AsyncExitStack()
    try:
        yield runner.run(stack.enter_async_context(living_replicas()))
    finally:
        runner.run(stack.aclose())


@pytest.mark.timeout(300 if not SOAK else 0)
@given(steps=histories(people, of_replicas))
@tried(2)
def test_every_edge_ends_with_what_the_api_says(
    runner: asyncio.Runner, world: ReplicatedWorld, steps: list[tuple[Any, ...]]
) -> None:
    async def live() -> None:
        for step, *arguments in steps:
            await getattr(world, step)(*arguments)
        await world.settled()

    began = time.monotonic()
    runner.run(live())
    if SOAK:
        print(
            f"{len(steps)} steps, in sync {time.monotonic() - began:.0f} s after the first",
            flush=True,
        )
