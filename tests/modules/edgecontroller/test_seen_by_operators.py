"""What a cluster's operator sees: Kubernetes Events, and metrics."""

import asyncio
import json
import logging
import re
from typing import Any

import pytest
from prometheus_client import REGISTRY

from ipc import Message
from modules.common.kube import CONFIGMAPS, EVENTS, NODES, PODS
from tests.support.waiting import DEADLINE, eventually

from .cloud import Cloud
from .objects import NODE, configmap, node, pod, using


async def reasons(cloud: Cloud) -> dict[str, int]:
    found = (await cloud.api.list(EVENTS)).items
    return {
        event["reason"]: event["count"]
        for event in found
        if event["involvedObject"]["name"] == NODE and event["involvedObject"]["kind"] == "Node"
    }


async def test_connections_are_events_of_their_node(running: Cloud) -> None:
    assert await eventually(lambda: reasons(running), lambda found: found) == {"EdgeConnected": 1}
    await running.connect()  # again, without a word of the end: a newer connection
    await running.connect(connected=False)
    await running.connect(connected=False)
    await running.connect()
    expected = {"EdgeConnected": 2, "EdgeDisconnected": 1}
    await eventually(lambda: reasons(running), lambda found: found == expected)


async def test_node_that_the_api_does_not_have_has_no_events(cloud: Cloud) -> None:
    async with cloud.controller():
        await cloud.connect()
        await cloud.drain()
        await cloud.api.create(NODES, node())
        await cloud.drain()  # it has been seen
        await cloud.connect(connected=False)
        found = await eventually(lambda: reasons(cloud), lambda found: found)
        assert found == {"EdgeDisconnected": 1}


async def test_node_that_the_api_does_not_have_is_told_of_once(
    cloud: Cloud, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each time that there is none anew: an edge reports its status every 10 s."""
    caplog.set_level("INFO")
    monkeypatch.setattr("modules.edgecontroller.telemetry._REPORT_SECONDS", 0.01)
    status = {"Status": {"phase": "Running"}}

    async def handled() -> float:
        return sample("edgecontroller_messages_handled_total", kind="nodestatus")

    async def report() -> Message:
        before = await handled()
        message = await cloud.from_edge("update", f"default/nodestatus/{NODE}", status)
        await eventually(handled, lambda now: now == before + 1)
        return await cloud.answer_to(message)

    async with cloud.controller():
        for times in (1, 2):
            for _ in range(3):
                answer = await report()
                assert answer.operation == "error"
            assert caplog.text.count("no node of that name; create it") == times
            _, command = answer.content.split(f"no Node {NODE} in the cluster: create it, ")
            manifest = json.loads(command.split("'")[1])
            assert manifest["kind"] == "Node"
            assert manifest["metadata"] == node()["metadata"]
            await cloud.api.create(NODES, node())
            for _ in range(2):
                assert (await report()).content == "OK"
            # The warning is not the last word.
            assert caplog.text.count(f"node {NODE}: exists in the Kubernetes API now") == times
            await cloud.api.delete(NODES, NODE)


def sample(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"cloudcore_{name}", labels) or 0.0


async def test_metrics(running: Cloud) -> None:
    module: Any = {"module": "edgecontroller"}

    def now() -> dict[str, float]:
        return {
            "sent": sample("edgecontroller_messages_sent_total"),
            "latencies": sample("edgecontroller_sync_latency_seconds_count"),
            "queries": sample("edgecontroller_messages_handled_total", kind="query"),
            "patches": sample("kube_api_requests_total", method="PATCH", **module),
            "not found": sample("kube_api_errors_total", code="404", **module),
        }

    before = now()
    await running.api.create(CONFIGMAPS, configmap("cm"), "default")
    await running.api.create(PODS, pod("p", spec=using("cm", "none")), "default")
    await running.drain()
    await running.from_edge("query", "default/configmap/none")
    await running.from_edge(
        "update", f"default/node/{NODE}", {"metadata": {"annotations": {"a": "b"}}}
    )
    async with asyncio.timeout(DEADLINE):
        while (after := now())["queries"] < before["queries"] + 2 or any(
            after[each] == before[each] for each in ("patches", "not found")
        ):
            await asyncio.sleep(0.05)
    assert after["sent"] >= before["sent"] + 2
    assert after["latencies"] >= before["latencies"] + 2
    assert after["patches"] == before["patches"] + 1
    assert after["not found"] == before["not found"] + 1
    assert sample("kube_cached_objects", resource="pods", **module) == 2  # with the barrier's
    assert sample("edgecontroller_connected_nodes") == 2  # with who asks in `drain`
    assert sample("edgecontroller_queue_depth", queue="outbox") == 0


async def test_the_log_says_what_was_listed_in_words(
    cloud: Cloud, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    await cloud.api.create(NODES, node())
    async with cloud.controller():
        await cloud.drain()
    (line,) = [each for each in caplog.messages if each.startswith("caches synced from")]
    assert re.fullmatch(r"caches synced from https://\S+: nodes=\d+( [a-z]+=\d+)+", line)
