"""CloudHub in two processes under the supervisor: whichever is killed, changes reach the edge."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys

import pytest

from modules.common.kube import CONFIGMAPS
from modules.hollow.demo.harness import Cloudcore, running
from modules.hollow.demo.walk import OLD, Walk, walking
from tests.support.quick_edges import QUICK

UNITS = ["cloudhub", "cloudhub-2"]


async def holder(cloudcore: Cloudcore) -> str:
    """Which process `cloudcore nodes` says that the edge is connected to."""
    asked = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "supervisor", "nodes", "-o", "json", OLD),
        *("--run-dir", str(cloudcore.settings.run_dir)),
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await asked.communicate()
    (row,) = json.loads(out)
    return str(row["process"])


async def reaches_the_edge(walk: Walk, value: str) -> None:
    await walk.api.patch(CONFIGMAPS, "greeting", {"data": {"hello": value}}, "default")
    await walk.old.wait_for(
        "default/configmap/greeting", lambda found: found["data"]["hello"] == value, 30
    )


@pytest.mark.timeout(150)
async def test_whichever_is_killed_changes_reach_the_edge() -> None:
    async with running("--set", "modules.cloudhub.processes=2") as cloudcore:
        async with walking(cloudcore, timing=QUICK) as walk:
            await walk.nodes_become_ready()
            await walk.pods_run_with_their_configmap()
            for round_ in range(3):
                held = await holder(cloudcore)
                for victim in sorted(UNITS, key=lambda name: name == held):  # the other one first
                    connects = walk.old.link.connects
                    pid = (await cloudcore.module(victim))["pid"]
                    os.kill(pid, signal.SIGKILL)
                    await reaches_the_edge(walk, f"{round_} {victim}")
                    await cloudcore.wait_restarted(victim, pid, 30)
                    assert walk.old.link.connects == connects + (victim == held)
        await cloudcore.stop(15)
