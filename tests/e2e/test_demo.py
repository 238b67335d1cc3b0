"""The steps of `make demo`, with real processes; and the demo as the program that people start."""

from __future__ import annotations

import asyncio
import sys

import pytest

from modules.hollow.demo.harness import running
from modules.hollow.demo.walk import walking

STEPS = [
    "cloudcore is running",
    "edge-new has got a certificate with a token",
    "edge-old (KubeEdge 1.1) is connected",
    "edge-new (KubeEdge 1.23) is connected",
    "node edge-old, which we created, is Ready in the API",
    "node edge-new, which registered itself, is Ready in the API",
    "a pod and the config map it refers to arrived at edge-old",
    "a pod and the config map it refers to arrived at edge-new",
    "the pod at edge-old is Running in the API",
    "the pod at edge-new is Running in the API",
    "a device arrived at edge-old",
    "the device's twin says ON in the API",
    "the changed twin arrived at edge-old",
    "the device's twin says OFF in the API",
    "a device of v1beta1 and its model arrived at edge-new",
    "its DeviceStatus says ON in the API",
    "the changed device arrived at edge-new",
    "its DeviceStatus says OFF, and that it is online",
    "was killed with SIGKILL",
    "the next change of the config map arrived at both edges",
    "edgecontroller is back",
    "the edges kept their connections",
    "edge-new was restarted, and has lost its database",
    "edge-new has its pod and its config map again",
    "the deleted pod is gone from edge-old and from the API",
    "the deleted pod is gone from edge-new and from the API",
]


@pytest.mark.timeout(90)
async def test_the_walk() -> None:
    seen: list[str] = []
    async with running() as cloudcore:
        async with walking(cloudcore, seen.append) as walk:
            await walk.take()
        await cloudcore.stop(15)
    assert len(seen) == len(STEPS)
    for line, step in zip(seen, STEPS, strict=True):
        assert step in line


@pytest.mark.timeout(90)
async def test_the_demo_ends_by_itself_with_status_0() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "modules.hollow.demo", stdout=asyncio.subprocess.PIPE
    )
    try:
        out, _ = await asyncio.wait_for(process.communicate(), 60)
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()
    lines = out.decode().splitlines()
    assert process.returncode == 0, out.decode()
    assert all(line.startswith("✓") for line in lines)
    assert "everything was seen" in lines[-1]
