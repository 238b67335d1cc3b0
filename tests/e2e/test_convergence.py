"""Whatever happens to cloudcore and its edges, in the end each edge has what the API says.

Real processes, edges of KubeEdge 1.1, 1.20 and 1.23, SIGKILLs, broken connections and lost
databases; the record of what edges have in files, or in ObjectSyncs too. `make soak` runs hundreds
of other examples.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modules.hollow.demo.harness import running
from modules.takeover.check.subject import RECORD

from .histories import SOAK, histories, of_one, people, tried
from .world import OPTIONS, World, living


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module")
def world_with(runner: asyncio.Runner) -> Iterator[Callable[[str], World]]:
    """One cloudcore for all examples of a record: each goes on from where the one before ended."""
    stack = AsyncExitStack()
    worlds: dict[str, World] = {}

    async def begin(record: str) -> World:
        options = RECORD if record == "objectsync" else ()
        cloudcore = await stack.enter_async_context(running(*OPTIONS, *options))
        await cloudcore.wait_ready(30)
        return await stack.enter_async_context(living(cloudcore))

    def world(record: str) -> World:
        if record not in worlds:
            worlds[record] = runner.run(begin(record))
        return worlds[record]

    try:
        yield world
    finally:
        runner.run(stack.aclose())


@pytest.mark.timeout(240 if not SOAK else 0)
@given(steps=histories(people, of_one), record=st.sampled_from(("file", "objectsync")))
@tried(4)
def test_every_edge_ends_with_what_the_api_says(
    runner: asyncio.Runner,
    world_with: Callable[[str], World],
    steps: list[tuple[Any, ...]],
    record: str,
) -> None:
    world = world_with(record)

    async def live() -> None:
        for step, *arguments in steps:
            await getattr(world, step)(*arguments)
        await world.settled()

    runner.run(live())
