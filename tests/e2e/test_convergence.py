"""Whatever happens to cloudcore and its edges, in the end each edge has what the API says.

Real processes, edges of KubeEdge 1.1, 1.20 and 1.23, SIGKILLs, broken connections and lost
databases; the record of what edges have in files, or in ObjectSyncs too. `make soak` runs hundreds
of other examples.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from modules.hollow.demo.harness import running
from modules.takeover.check.subject import RECORD

from .fleet import DELETABLE, EDGES, NAMES, NEW_EDGES, OLD_EDGES, VICTIMS
from .world import OPTIONS, World, living

#: Examples that are tried; more than the usual few are others every time.
SOAK: Final = int(os.environ.get("SOAK", "0"))
EXAMPLES: Final = SOAK or 4

names, edges, values = st.sampled_from(NAMES), st.sampled_from(EDGES), st.sampled_from("xyz")
new_edges = st.sampled_from(NEW_EDGES)

#: People do more than fate; a pod is what most of it turns on.
people = st.one_of(
    st.tuples(st.just("pod"), names, edges, names),
    st.tuples(st.just("pod"), names, edges, names),
    st.tuples(st.just("configmap"), names, values),
    st.tuples(st.just("secret"), names, values),
    st.tuples(st.just("service"), names, values),
    st.tuples(st.just("device"), names, st.sampled_from(OLD_EDGES), values),
    st.tuples(st.just("todays_device"), names, new_edges, values, names),
    st.tuples(st.just("todays_device"), names, new_edges, values, names),
    st.tuples(st.just("todays_model"), names, values),
    st.tuples(st.just("report"), names, new_edges, values),
    st.tuples(st.just("delete"), st.sampled_from(sorted(DELETABLE)), names),
    st.tuples(st.just("wait"), st.sampled_from((0.0, 0.05, 0.3))),
)
fate = st.one_of(
    st.tuples(st.just("drop"), edges),
    st.tuples(st.just("restart"), edges),
    st.tuples(st.just("lose"), new_edges),
    st.tuples(st.just("kill"), st.sampled_from(VICTIMS)),
    st.tuples(st.just("outage"), st.sampled_from((0.2, 1.0))),
)
steps = st.lists(st.one_of(people, people, people, fate), min_size=15, max_size=40)


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
@given(steps=steps, record=st.sampled_from(("file", "objectsync")))
@settings(
    max_examples=EXAMPLES,
    derandomize=not SOAK,
    database=None,
    # What went wrong once with real processes may not do so again: no shrinking.
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
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
