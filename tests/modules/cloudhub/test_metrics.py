"""The metrics of CloudHub agree with what happened."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from prometheus_client import REGISTRY

from modules.cloudhub.metrics import Exporter
from modules.common import log_limit
from tests.modules.cloudhub.cloud import Cloud, Join
from tests.support.waiting import until

PREFIX = "cloudcore_cloudhub_"


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(PREFIX + name, labels) or 0.0


async def test_totals_follow_what_is_counted(cloud: Cloud, join: Join) -> None:
    names: list[tuple[str, dict[str, str]]] = [
        ("sessions_total", {}),
        ("keepalives_total", {}),
        ("messages_total", {"direction": "up"}),
        ("messages_total", {"direction": "down"}),
        ("ended_sessions_total", {"cause": "lost"}),
        ("dropped_messages_total", {"cause": "not_connected"}),
    ]
    before = [value(name, **labels) for name, labels in names]
    edge = await join(cloud)
    await cloud.expect("edge-1", "connected")
    await edge.keepalive()
    for number in range(3):
        await cloud.send("edge-1", f"default/pod/p{number}", "insert")
        await edge.receive()
    await cloud.send("edge-7", "default/pod/p")
    await edge.leave()
    await cloud.expect("edge-1", "disconnected")
    await until(lambda: cloud.hub.statistics.not_connected == 1)
    cloud.hub._exporter.totals()
    cloud.hub._exporter.totals()  # nothing is counted twice
    after = [value(name, **labels) for name, labels in names]
    assert [b - a for a, b in zip(before, after, strict=True)] == [1, 2, 2, 3, 1, 1]


async def test_refusals_are_counted_by_cause(run_hub: Callable, join: Join) -> None:
    before = value("refused_connections_total", cause="limit")
    async with run_hub(node_limit=1) as cloud:
        await join(cloud, "edge-1")
        await cloud.expect("edge-1", "connected")
        try:
            await join(cloud, "edge-2")
        except AssertionError:
            cloud.hub._exporter.totals()
    assert value("refused_connections_total", cause="limit") == before + 1


async def test_an_edge_that_dials_again_and_again_is_counted_each_time_and_logged_ten_times(
    cloud: Cloud, join: Join, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level("INFO")
    before = value("ended_sessions_total", cause="lost")
    for _ in range(20):
        edge = await join(cloud)
        await cloud.expect("edge-1", "connected")
        await edge.leave()
        await cloud.expect("edge-1", "disconnected")
    cloud.hub._exporter.totals()
    assert value("ended_sessions_total", cause="lost") == before + 20
    lines = [each for each in caplog.messages if each.startswith("node edge-1 ")]
    assert [" connected from" in each for each in lines] == [True, False] * 5
    monkeypatch.setattr(log_limit, "_PERIOD", 0.0)
    cloud.hub._log.flush()
    last = caplog.messages[-1]
    assert last.startswith("node edge-1 at ")
    assert " disconnected: " in last
    assert last.endswith(" (and 29 more in the time before)")
    cloud.hub._log.flush()
    assert sum("edge-1" in each for each in caplog.messages) == 11


async def test_gauges_tell_of_all_sessions(cloud: Cloud, join: Join) -> None:
    await join(cloud, "edge-1")
    await join(cloud, "edge-2")
    await cloud.expect("edge-1", "connected")
    await cloud.expect("edge-2", "connected")
    for number in range(100):
        await cloud.send("edge-1", f"default/configmap/c{number}", content={"d": "x" * 100_000})
    session = cloud.hub.sessions["edge-1"]
    await until(lambda: len(session.queue) > 10)
    exporter: Exporter = cloud.hub._exporter
    expiries = [each.identity.expires for each in cloud.hub.sessions.values()]
    await until(lambda: cloud.context.details["connected_nodes"] == 2)
    cloud.hub._export_gauges()
    exporter.certificates(expiries, time.time())
    assert value("connected_nodes") == 2
    assert value("node_limit") == 1000
    assert value("queue_messages") == len(session.queue)
    assert value("queue_bytes") == session.queue.bytes
    assert value("expiring_certificates") == 0
    assert value("certificate_expiry_timestamp_seconds") > time.time() + 300 * 24 * 3600
    exporter.certificates(expiries, time.time() + 340 * 24 * 3600)
    assert value("expiring_certificates") == 2
    session.abort("test", "it is no longer waited for")
    cloud.hub._export_gauges()
    assert value("queue_messages") == 0


def test_every_metric_has_a_help_text_and_no_label_for_a_node() -> None:
    ours = [each for each in REGISTRY.collect() if each.name.startswith(PREFIX)]
    assert len(ours) == 16
    for each in ours:
        assert each.documentation.endswith(".")
        for sample in each.samples:
            assert set(sample.labels) <= {"cause", "direction", "route", "status", "by"}
