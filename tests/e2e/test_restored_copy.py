"""`apiserver.db` is put back from an older copy under load: edges converge by themselves.

Real processes. Nothing but the API server is stopped for it; what the copy does not have leaves the
edges, and what it has in an older state is told again.
"""

from __future__ import annotations

import asyncio
import random
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from modules.hollow.demo.harness import Cloudcore, running

from .fleet import EDGES, NAMES, NEW_EDGES, OLD_EDGES
from .world import OPTIONS, World, living

CONTROLLERS = ("cloudhub", "edgecontroller", "devicecontroller")


async def command(cloudcore: Cloudcore, *words: str) -> None:
    asked = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "supervisor", *words),
        *("--run-dir", str(cloudcore.settings.run_dir)),
        stdout=asyncio.subprocess.PIPE,
    )
    await asked.communicate()
    assert asked.returncode == 0, words


@asynccontextmanager
async def apiserver_stopped(cloudcore: Cloudcore) -> AsyncIterator[None]:
    await command(cloudcore, "stop", "apiserver")
    yield
    await command(cloudcore, "start", "apiserver")


async def keep_busy(world: World, chance: random.Random, enough: asyncio.Event) -> None:
    """Change this and that until it is enough."""
    while not enough.is_set():
        name, edge, value = chance.choice(NAMES), chance.choice(EDGES), chance.choice("xyz")
        match chance.randrange(8):
            case 0:
                await world.pod(name, edge, chance.choice(NAMES))
            case 1:
                await world.delete(
                    chance.choice(("pod", "device", "todays_device", "service")), name
                )
            case 2:
                await world.secret(name, value)
            case 3:
                await world.service(name, value)
            case 4:
                await world.device(name, chance.choice(OLD_EDGES), value)
            case 5:
                await world.todays_device(name, chance.choice(NEW_EDGES), value, name)
            case 6:
                await world.todays_model(name, value)
            case _:
                await world.configmap(name, value)


@asynccontextmanager
async def busy(world: World, seed: int) -> AsyncIterator[None]:
    enough = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(keep_busy(world, random.Random(seed), enough))
        try:
            yield
        finally:
            enough.set()


async def pids(cloudcore: Cloudcore) -> dict[str, int]:
    return {name: (await cloudcore.module(name))["pid"] for name in CONTROLLERS}


@pytest.mark.timeout(180)
@pytest.mark.parametrize("seed", [1])
async def test_edges_have_what_the_copy_has(seed: int) -> None:
    async with running(*OPTIONS) as cloudcore:
        await cloudcore.wait_ready(30)
        async with living(cloudcore) as world:
            database = cloudcore.settings.data_dir / "apiserver.db"
            copy = cloudcore.settings.data_dir / "copy"
            edge = EDGES[0]
            await world.configmap("changed", "old")
            await world.pod("victim", edge, "changed")
            await world.pod("kept", edge, "changed")
            await world.device("changed", edge, "old")
            async with busy(world, seed):
                await asyncio.sleep(1)
            await world.settled()
            before = await pids(cloudcore)
            async with apiserver_stopped(cloudcore):
                shutil.copyfile(database, copy)

            await world.configmap("changed", "new")
            await world.delete("pod", "victim")
            await world.pod("newer", edge, "changed")
            for value in ("new", "newer"):
                await world.device("changed", edge, value)
                await world.device("later", edge, value)
            async with busy(world, seed + 1):
                await asyncio.sleep(1)
            await world.settled()
            async with busy(world, seed + 2):
                async with apiserver_stopped(cloudcore):
                    shutil.copyfile(copy, database)
                await asyncio.sleep(1)
            await world.settled()
            assert "default/pod/victim" in world.edges[edge].objects
            assert "default/pod/newer" not in world.edges[edge].objects
            twin = world.edges[edge].devices["changed"]["twin"]["power-status"]
            assert twin["expected"]["value"] == "old"
            assert await pids(cloudcore) == before
