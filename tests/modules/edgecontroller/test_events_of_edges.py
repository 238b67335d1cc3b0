"""Kubernetes Events that edges write, about themselves and their pods."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from ipc import Message
from modules.common.kube import EVENTS
from modules.edgecontroller.upstream import rows
from tests.support.waiting import eventually

from .cloud import Cloud
from .fakes import running
from .objects import NODE, Json
from .test_seen_by_operators import sample
from .today import OTHER, bound, register

NAME = "p.1234"
RESOURCE = f"default/event/{NAME}"


def event(name: str = "p", kind: str = "Pod", host: str = NODE, **more: Any) -> Json:
    return {
        "metadata": {"name": NAME, "namespace": "default", "creationTimestamp": None},
        "involvedObject": {"kind": kind, "namespace": "default", "name": name, "uid": "u"},
        "reason": "Pulled",
        "message": "image pulled",
        "source": {"component": "edged", "host": host},
        "firstTimestamp": "2026-01-01T00:00:00Z",
        "lastTimestamp": "2026-01-01T00:00:00Z",
        "count": 1,
        "type": "Normal",
        **more,
    }


def repeated(**patch: Any) -> Json:
    return {"event": event(), "patchData": msgspec.json.encode(patch).decode()}


async def written(cloud: Cloud) -> list[Json]:
    """Return the events of edges, when all that was sent has been handled; none has an answer.

    Those of a node are handled one after the other.
    """
    marker = event(NODE, "Node")
    marker["metadata"]["name"] = "marker"
    await cloud.ask("insert", "default/event/marker", marker)
    found = await eventually(
        lambda: cloud.api.list(EVENTS, "default"),
        lambda page: any(each["metadata"]["name"] == "marker" for each in page.items),
    )
    await cloud.api.delete(EVENTS, "marker", "default")
    assert [each for each in await cloud.drain() if each.parent_id] == []
    return [each for each in found.items if each["metadata"]["name"] == NAME]


async def test_an_event_is_written_and_repeated(today: Cloud) -> None:
    await register(today)
    await bound(today)
    await today.ask("insert", RESOURCE, event())
    (found,) = await written(today)
    assert {key: found[key] for key in ("involvedObject", "reason", "message", "source")} == {
        key: event()[key] for key in ("involvedObject", "reason", "message", "source")
    }
    patch = repeated(count=2, lastTimestamp="2026-01-01T00:00:07Z", message="again")
    await today.ask("patch", RESOURCE, patch)
    (found,) = await written(today)
    assert (found["count"], found["message"]) == (2, "again")
    assert found["lastTimestamp"] == "2026-01-01T00:00:07Z"
    await today.ask("update", RESOURCE, event(count=9))
    (found,) = await written(today)
    assert found["count"] == 9


async def test_an_event_about_a_pod_that_is_gone_is_written(today: Cloud) -> None:
    await register(today)
    await today.ask("insert", RESOURCE, event("gone"))
    assert len(await written(today)) == 1


FOREIGN = {
    "of another node": event(host=OTHER),
    "of nobody": event(source={}),
    "of two": event(reportingInstance=OTHER),
    "about another node": event(OTHER, "Node"),
    "about another node's pod": event("foreign"),
    "about a pod elsewhere": event(involvedObject={"kind": "Pod", "namespace": "x", "name": "p"}),
    "about a secret": event("s", "Secret"),
}


@pytest.mark.parametrize("what", FOREIGN)
async def test_a_node_writes_no_other_events(today: Cloud, what: str) -> None:
    await register(today)
    await bound(today)
    await bound(today, "foreign", OTHER)
    await today.ask("insert", RESOURCE, FOREIGN[what])
    assert await written(today) == []


@pytest.mark.parametrize("operation", ["update", "patch"])
async def test_a_node_changes_no_events_of_others(today: Cloud, operation: str) -> None:
    await register(today)
    await bound(today)
    theirs = event(host=OTHER)
    await today.api.create(EVENTS, theirs, "default")
    await today.ask(operation, RESOURCE, event() if operation == "update" else repeated(count=2))
    (found,) = await written(today)
    assert (found["source"], found["count"]) == (theirs["source"], 1)


async def test_a_node_repeats_an_event_and_changes_nothing_else(today: Cloud) -> None:
    await register(today)
    await bound(today)
    await today.ask("insert", RESOURCE, event())
    await today.ask("patch", RESOURCE, repeated(involvedObject={"name": "x"}))
    (found,) = await written(today)
    assert found["involvedObject"] == event()["involvedObject"]


@pytest.mark.parametrize(
    "content",
    [event(message="x" * 20_000), event(count="many"), [], repeated()["event"]],
    ids=["large", "misshapen", "list", "patch"],
)
async def test_what_is_no_event_is_set_aside(
    today: Cloud, caplog: pytest.LogCaptureFixture, content: Any
) -> None:
    await register(today)
    operation = "patch" if content == repeated()["event"] else "insert"
    await today.ask(operation, RESOURCE, content)
    assert await written(today) == []
    assert f"cannot use message '{operation}' 'node/{NODE}/{RESOURCE}'" in caplog.text


async def test_a_flood_of_events_is_dropped(tmp_path: Any) -> None:
    """What the API server does not keep up with waits in a bounded queue."""
    metric = "edgecontroller_messages_dropped_total"
    before = sample(metric, kind="event")
    async with running(tmp_path) as bench:
        queue = bench.controller._upstream.queues["event"]
        resource = f"node/{NODE}/default/event/{NAME}"
        content = msgspec.json.encode(event(NODE, "Node"))
        taken = [
            bench.hear(Message.build("edged", "meta", "insert", resource, content))
            for _ in range(1000)
        ]
        await bench.settle()
        assert all(each.is_done for each in taken)
        assert 0 < len(bench.api.events) <= rows._MOST_EVENTS + 1
        assert queue.dropped == 1000 - len(bench.api.events)
        bench.controller.telemetry.measure()
        assert sample(metric, kind="event") - before == queue.dropped
