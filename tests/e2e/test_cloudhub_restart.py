"""What waited for a connected edge when cloudhub ended is there in the end: the real modules."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys

import pytest

from modules.common.kube import CONFIGMAPS, PODS
from modules.hollow import manifests
from modules.hollow.demo.harness import Cloudcore, running
from modules.hollow.demo.walk import OLD, walking
from tests.support.quick_edges import QUICK

COUNT = 12
LARGE = 900_000  # bytes of each config map: together more than sockets' buffers take


async def command(cloudcore: Cloudcore, *words: str) -> bytes:
    """What a command of cloudcore prints."""
    asked = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "supervisor", *words),
        *("--run-dir", str(cloudcore.settings.run_dir)),
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await asked.communicate()
    assert asked.returncode == 0
    return out


async def waiting_messages(cloudcore: Cloudcore) -> int:
    """What `cloudcore nodes` says of the edge's queue."""
    (row,) = json.loads(await command(cloudcore, "nodes", "-o", "json", OLD))
    assert row["node"] == OLD
    return int(row["queue_messages"])


async def end(cloudcore: Cloudcore, pid: int, how: str) -> None:
    """End cloudhub, whose process has this id."""
    if how == "restart":
        await command(cloudcore, "restart", "cloudhub")
    else:
        os.kill(pid, signal.Signals[how])


@pytest.mark.timeout(120)
@pytest.mark.parametrize("how", ["SIGKILL", "SIGTERM", "restart"])
async def test_nothing_that_was_queued_is_lost_in_the_end(how: str) -> None:
    async with running() as cloudcore:
        async with walking(cloudcore, timing=QUICK) as walk:
            await walk.nodes_become_ready()
            await walk.pods_run_with_their_configmap()
            before = await cloudcore.module("cloudhub")

            # The edge reads no more, so that what follows fills its queue in cloudhub.
            transport = walk.old.link._transport
            assert transport is not None
            transport.underlying_transport.pause_reading()
            sock = transport.underlying_transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)  # or it would grow
            for each in range(COUNT):
                large = manifests.configmap(f"c{each}", data="x" * LARGE)
                await walk.api.create(CONFIGMAPS, large, "default")
                pod = manifests.pod(f"p{each}", OLD, f"c{each}")
                await walk.api.create(PODS, pod, "default")
            await walk.api.patch(CONFIGMAPS, "greeting", {"data": {"hello": "later"}}, "default")
            async with asyncio.timeout(30):
                while await waiting_messages(cloudcore) < COUNT:
                    await asyncio.sleep(0.1)

            await end(cloudcore, before["pid"], how)
            await cloudcore.wait_restarted("cloudhub", before["pid"], 30)
            transport.underlying_transport.resume_reading()
            for each in range(COUNT):
                await walk.old.wait_for(f"default/pod/p{each}", timeout=30)
                await walk.old.wait_for(
                    f"default/configmap/c{each}", lambda it: len(it["data"]["data"]) == LARGE, 30
                )
            await walk.old.wait_for(
                "default/configmap/greeting", lambda it: it["data"]["hello"] == "later", 30
            )
            assert walk.old.link.connects == 2
        await cloudcore.stop(15)
