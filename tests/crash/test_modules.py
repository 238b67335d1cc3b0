"""SIGKILL of each of cloudcore's modules in turn while messages flow both ways."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from modules.common.kube import CONFIGMAPS, DEVICES, KubeError
from modules.hollow.demo.harness import running
from modules.hollow.demo.observe import in_api
from modules.hollow.demo.walk import Walk, walking
from tests.support.quick_edges import QUICK

MODULES = ["apiserver", "cloudhub", "edgecontroller", "devicecontroller"]


async def change_without_end(walk: Walk) -> None:
    """Change a config map and a device's twin as fast as the API takes it, outages or not."""
    number = 0
    while True:
        number += 1
        try:
            await change(walk, str(number))
        except KubeError:
            await asyncio.sleep(0.05)  # the API server is the one that was killed


async def change(walk: Walk, value: str) -> None:
    await walk.api.patch(CONFIGMAPS, "greeting", {"data": {"hello": value}}, "default")
    await walk.desire("led-1", value)


async def both_ways(walk: Walk, value: str) -> None:
    """The value has come to both edges, and an edge's answer to it into the API."""
    for edge in walk.edges.values():
        await edge.wait_for(
            "default/configmap/greeting", lambda found: found["data"]["hello"] == value, 30
        )
    await in_api(
        walk.api,
        DEVICES,
        "led-1",
        "default",
        lambda found: bool(found["status"]["twins"][0]["reported"]["value"] == value),
    )


@pytest.mark.timeout(120)
@pytest.mark.parametrize("victim", MODULES)
async def test_a_killed_module_is_back_and_the_others_did_not_notice(victim: str) -> None:
    async with running() as cloudcore:
        async with walking(cloudcore, timing=QUICK) as walk:
            await walk.nodes_become_ready()
            await walk.pods_run_with_their_configmap()
            await walk.device_follows_its_twin()
            before = {name: await cloudcore.module(name) for name in MODULES}
            changing = asyncio.create_task(change_without_end(walk))
            received = walk.old.received_total
            await walk.old.wait_until(
                lambda: walk.old.received_total > received + 20, 15, "messages to flow"
            )
            os.kill(before[victim]["pid"], signal.SIGKILL)
            await cloudcore.wait_restarted(victim, before[victim]["pid"], 30)
            await walk.old.wait_connected(30)
            received = walk.old.received_total
            await walk.old.wait_until(
                lambda: walk.old.received_total > received + 20, 30, "messages to flow again"
            )
            changing.cancel()
            await asyncio.wait([changing])
            await change(walk, "last")
            await both_ways(walk, "last")
            for name in set(MODULES) - {victim}:
                module = await cloudcore.module(name)
                assert module["pid"] == before[name]["pid"]
                assert module["restarts"] == 0, cloudcore.log_tail(200)
            assert (await cloudcore.module(victim))["restarts"] == 1
            if victim != "cloudhub":
                assert walk.old.link.connects == 1
        await cloudcore.stop(15)
