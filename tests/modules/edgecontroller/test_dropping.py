"""What a node has reported is dropped when it has gone to another replica."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from ipc import Message
from modules.common.kube import NODES, PODS, Unreachable
from modules.common.wire.generations import V1_1
from modules.edgecontroller.upstream.message_queue import MessageQueue
from supervisor.api import ReplicasSettings
from tests.support.waiting import eventually, until

from .cloud import Cloud
from .objects import NODE, node, pod


async def test_what_waits_and_what_is_being_handled_is_dropped() -> None:
    handled: list[str] = []
    done: list[str] = []
    begun = asyncio.Event()

    async def handle(batch: list[Message]) -> None:
        handled.append(batch[-1].content)
        if batch[-1].content == "hangs":
            begun.set()
            await asyncio.Event().wait()

    def put(node: str, content: str) -> None:
        message = Message.build("edge", "resource", "update", f"node/{node}/x", content)
        queue.put((node, "x"), message, lambda: done.append(content))

    queue = MessageQueue(handle, 1)
    running = asyncio.create_task(queue.run())
    put("gone", "hangs")
    put("gone", "waits")
    put("stays", "other")
    await begun.wait()
    queue.drop(lambda key: key == ("gone", "x"))
    await eventually(lambda: asyncio.sleep(0, done), lambda found: "other" in found)
    assert sorted(done) == ["hangs", "other", "waits"]
    put("gone", "later")
    await eventually(lambda: asyncio.sleep(0, done), lambda found: "later" in found)
    assert handled == ["hangs", "other", "later"]
    assert queue.dropped == 2
    running.cancel()


async def test_what_is_dropped_may_be_dropped_again_before_it_has_ended() -> None:
    """An edge that comes and goes again at once ends its connection twice."""
    begun, done, ended = asyncio.Event(), list[str](), asyncio.Event()

    async def handle(_: list[Message]) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            await ended.wait()

    queue = MessageQueue(handle, 1)
    running = asyncio.create_task(queue.run())
    queue.put(("gone", "x"), status("gone"), lambda: done.append("dropped"))
    await begun.wait()
    for _ in range(3):
        queue.drop(lambda _: True)
        for _ in range(3):
            await asyncio.sleep(0)
    ended.set()
    await until(lambda: done == ["dropped"])
    running.cancel()


def status(node: str) -> Message:
    return Message.build("edge", "resource", "update", f"node/{node}/x")


async def test_a_failure_of_what_is_dropped_is_forgotten(caplog: pytest.LogCaptureFixture) -> None:
    """The next one of its kind is logged, as the first."""

    async def handle(_: list[Message]) -> None:
        raise Unreachable("no answer")

    queue = MessageQueue(handle, 1)
    running = asyncio.create_task(queue.run())
    for number, name in enumerate(("gone", "stays"), start=1):
        queue.put((name, "x"), status(name), lambda: None)
        await until(lambda number=number: caplog.text.count("no answer") == number)
        queue.drop(lambda key: key == ("gone", "x"))
    running.cancel()


async def test_what_fails_while_it_is_dropped_is_not_tried_again() -> None:
    done: list[str] = []

    async def handle(_: list[Message]) -> None:
        queue.drop(lambda _: True)
        raise Unreachable("no answer")

    queue = MessageQueue(handle, 1)
    running = asyncio.create_task(queue.run())
    queue.put(("gone", "x"), status("gone"), lambda: done.append("dropped"))
    await until(lambda: done)
    assert (queue.dropped, len(queue)) == (1, 0)
    running.cancel()


async def test_a_status_of_a_node_that_is_elsewhere_is_not_written(cloud: Cloud) -> None:
    cloud.settings = replace(cloud.settings, replicas=ReplicasSettings(enabled=True, name="a"))
    await cloud.api.create(NODES, node())
    await cloud.api.create(PODS, pod("p"), "default")

    async def report(phase: str) -> None:
        status = {"Name": "p", "Status": {"phase": phase}}
        await cloud.from_edge("update", "default/podstatus/p", status)

    async def phase() -> str:
        found = (await cloud.api.get(PODS, "p", "default"))["status"]
        return str(found.get("phase"))

    async with cloud.controller(record="objectsync"):
        await cloud.connect(generation=V1_1)
        await cloud.until("insert", f"node/{NODE}/default/pod/p")
        await report("Running")
        await eventually(phase, lambda found: found == "Running")
        await cloud.connect(connected=False)
        await report("Failed")  # it was still in the channel
        await cloud.connect(generation=V1_1)
        await cloud.until("update", f"node/{NODE}/default/pod/p")
        assert await phase() == "Running"
