"""Channels and contexts with each start method, and the death of such a process."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from ipc import AsyncContext, ChannelRegistry, Context, Message
from tests.ipc.processes import Start

METHODS = ["fork", "spawn", "forkserver"]


def message(operation: str, content: object = None) -> Message:
    return Message.build("here", "g", operation, "r", content)


def answer(registry: ChannelRegistry, name: str) -> None:
    context = Context(registry, name)
    for asked in context:
        if asked.operation == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if asked.sync:
            context.send_resp(asked.response([name, asked.redelivered, os.getpid()]))
        if asked.operation == "stop":
            context.stop()


def answer_in_a_loop(registry: ChannelRegistry, name: str) -> None:
    async def main() -> None:
        context = AsyncContext(registry, name)
        while True:
            delivery = await context.take()
            asked = delivery.message
            if asked.operation == "die":
                os.kill(os.getpid(), signal.SIGKILL)
            if asked.sync:
                await context.send_resp(asked.response([name, asked.redelivered, os.getpid()]))
            delivery.done()
            if asked.operation == "stop":
                break
        context.close()

    asyncio.run(main())


@pytest.fixture
def registry() -> ChannelRegistry:
    registry = ChannelRegistry(max_deliveries=2)
    for name in ("here", "there", "yonder"):
        registry.add_module(name, "" if name == "here" else "away")
    return registry


@pytest.mark.timeout(90)
@pytest.mark.parametrize("method", METHODS)
def test_every_operation_works_and_a_death_is_survived(
    start: Start, registry: ChannelRegistry, method: str
) -> None:
    there = start(answer, registry, "there", method=method)
    yonder = start(answer_in_a_loop, registry, "yonder", method=method)
    context = Context(registry, "here")
    answered = context.send_sync("there", message("query"), 40)
    assert answered.content == ["there", 0, there.pid]
    both = context.send_to_group_sync("away", message("query"), 40)
    assert [one.content for one in both] == [["there", 0, there.pid], ["yonder", 0, yonder.pid]]
    for name, process, run in (("there", there, answer), ("yonder", yonder, answer_in_a_loop)):
        context.send(name, message("die"))
        process.join(20)
        assert process.exitcode == -signal.SIGKILL
        inbox = registry.mailbox(name).inbox
        assert [held.operation for held in inbox.in_flight()] == ["die"]
        start(run, registry, name, method=method).join(40)  # dies of it too: a dead letter
        successor = start(run, registry, name, method=method)
        answered = context.send_sync(name, message("query"), 40)
        assert answered.content == [name, 0, successor.pid]
        assert inbox.statistics().dead_letters == 1
        context.send(name, message("stop"))
        successor.join(20)
        assert successor.exitcode == 0
        assert registry.mailbox(name).inbox.statistics().senders == 1
