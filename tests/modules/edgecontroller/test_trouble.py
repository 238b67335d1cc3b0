"""An API server that is overloaded, faulty or slow loses nothing; answers pass what is in bulk."""

import asyncio
from collections import Counter
from typing import Any

import pytest

from modules.common.kube import (
    CONFIGMAPS,
    NODES,
    PODS,
    ApiError,
    Conflict,
    TooManyRequests,
    Unreachable,
)
from modules.common.kube.transport import Request, Transport
from tests.support.waiting import eventually

from .cloud import Cloud
from .objects import NODE, configmap, node, pod, using

TROUBLE = [
    lambda: TooManyRequests(429, "TooManyRequests", "wait", retry_after=0.05),
    lambda: ApiError(500, "InternalError", "etcdserver: leader changed"),
    lambda: ApiError(503, "ServiceUnavailable", "no"),
    lambda: Unreachable("timed out"),
    lambda: Conflict(409, "Conflict", "the object has been modified"),
]


@pytest.fixture
def troubled(monkeypatch: pytest.MonkeyPatch) -> Counter[tuple[str, str]]:
    """Every request of the controller's fails in each way before it is let through."""
    failed: Counter[tuple[str, str]] = Counter()
    send = Transport.send

    async def send_at_last(transport: Transport, request: Request) -> Any:
        is_watch = (request.query or {}).get("watch") == "true"
        if transport.module == "edgecontroller" and not is_watch:
            # To a delete with a uid a conflict says that it is another pod by now.
            ways = TROUBLE[:-1] if request.method == "DELETE" else TROUBLE
            number = failed[request.method, request.path]
            if number < len(ways):
                failed[request.method, request.path] += 1
                make_error = ways[number]
                raise make_error()
        return await send(transport, request)

    monkeypatch.setattr(Transport, "send", send_at_last)
    return failed


async def test_everything_is_done_in_the_end(
    running: Cloud, troubled: Counter[tuple[str, str]]
) -> None:
    await running.api.create(PODS, pod("p"), "default")
    await running.until("insert", f"node/{NODE}/default/pod/p")
    await running.api.delete(PODS, "p", "default")
    ended = {"phase": "Succeeded", "containerStatuses": []}
    await running.from_edge("update", "default/podstatus/p", {"Name": "p", "Status": ended})
    questions = [
        await running.from_edge("update", f"default/nodestatus/{NODE}", {"Status": {"phase": "a"}}),
        await running.from_edge(
            "update", f"default/node/{NODE}", {"metadata": {"annotations": {"a": "b"}}}
        ),
        await running.from_edge("query", f"default/node/{NODE}"),
    ]
    awaited = {question.id for question in questions} | {"pod"}
    while awaited:
        message = await running.next()
        awaited.discard(message.parent_id)
        if (message.operation, message.resource) == ("delete", f"node/{NODE}/default/pod/p"):
            awaited.discard("pod")
    found = await running.api.get(NODES, NODE)
    assert found["status"]["phase"] == "a"
    assert found["metadata"]["annotations"] == {"a": "b"}
    assert {method for method, _ in troubled} >= {"PATCH", "GET", "DELETE"}


async def test_slow_writes_of_some_do_not_hold_up_others(
    running: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A status that takes long blocks its own node's alone."""
    await running.api.create(NODES, node("fast"))
    await running.drain()
    go, send = asyncio.Event(), Transport.send

    async def slow_for_one(transport: Transport, request: Request) -> Any:
        if transport.module == "edgecontroller" and request.path.endswith(f"{NODE}/status"):
            await go.wait()
        return await send(transport, request)

    monkeypatch.setattr(Transport, "send", slow_for_one)
    held = await running.from_edge(
        "update", f"default/nodestatus/{NODE}", {"Status": {"phase": "a"}}
    )
    quick = await running.from_edge(
        "update", "default/nodestatus/fast", {"Status": {"phase": "b"}}, node="fast"
    )
    assert (await running.answer_to(quick)).content == "OK"
    go.set()
    assert (await running.answer_to(held)).content == "OK"


async def test_statuses_that_the_api_cannot_write_do_not_hold_up_others(
    running: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An admission webhook of one namespace does not answer; there are more pods than workers."""
    broken, send = True, Transport.send
    names = [f"bad-{number}" for number in range(10)]
    for name in (*names, "good"):
        await running.api.create(PODS, pod(name), "default")

    async def hooked(transport: Transport, request: Request) -> Any:
        if broken and transport.module == "edgecontroller" and "/pods/bad-" in request.path:
            raise ApiError(500, "InternalError", "failed calling webhook")
        return await send(transport, request)

    monkeypatch.setattr(Transport, "send", hooked)
    for name in (*names, "good"):
        status = {"Name": name, "Status": {"phase": "Running"}}
        await running.from_edge("update", f"default/podstatus/{name}", status)

    async def reported(name: str) -> None:
        await eventually(
            lambda: running.api.get(PODS, name, "default"),
            lambda found: found.get("status", {}).get("phase") == "Running",
        )

    await reported("good")
    broken = False
    for name in names:
        await reported(name)


async def test_answers_do_not_wait_behind_bulk(cloud: Cloud) -> None:
    """A node's whole state is due, and its question is answered before the end of that."""
    names = [f"cm-{number}" for number in range(400)]
    for name in names:
        await cloud.api.create(CONFIGMAPS, configmap(name, data="x" * 2000), "default")
    await cloud.api.create(PODS, pod("p", spec=using(*names)), "default")
    await cloud.api.create(NODES, node())
    cloud.absent.add(NODE)
    async with cloud.controller():
        await cloud.drain()
        await cloud.connect()
        question = await cloud.from_edge("query", "default/configmap/cm-0")
        messages = [m for m in await cloud.drain() if m.resource.startswith(f"node/{NODE}/")]
    answered = next(n for n, message in enumerate(messages) if message.parent_id == question.id)
    last = max(n for n, message in enumerate(messages) if not message.parent_id)
    assert len(messages) > len(names)
    assert answered < last
