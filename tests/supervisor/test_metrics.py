"""Metrics: of the supervisor's own, and of modules across their deaths."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from supervisor import client
from tests.support.running import Running

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def metrics(running: Running) -> Samples:
    text = client.text(running.admin_socket, "/metrics")
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(samples: Samples, name: str, **labels: str) -> float | None:
    return samples.get((name, frozenset(labels.items())))


def test_what_the_supervisor_knows(tmp_path: Path) -> None:
    with Running(tmp_path, "good", "asking") as running:
        running.ready("good", "asking")
        running.detail("asking", "asked")
        os.kill(running.module("good")["pid"], signal.SIGKILL)
        running.wait_for("good: ready -> crashed")
        running.ready("good")
        found = metrics(running)
        good = {"module": "good"}
        assert value(found, "cloudcore_uptime_seconds")
        assert value(found, "cloudcore_module_ready", **good) == 1
        assert value(found, "cloudcore_module_state", **good, state="ready") == 1
        assert value(found, "cloudcore_module_restarts_total", **good, cause="crash") == 1
        assert value(found, "cloudcore_module_transitions_total", **good, state="ready") == 2
        for name in ("resident_memory_bytes", "open_fds", "threads", "uptime_seconds"):
            assert value(found, f"cloudcore_module_{name}", **good), name
        assert value(found, "cloudcore_module_cpu_seconds_total", **good) is not None
        assert value(found, "cloudcore_channel_received_total", **good)
        assert value(found, "cloudcore_channel_sent_total", **good)
        assert value(found, "cloudcore_channel_messages", **good) is not None
        assert value(found, "cloudcore_channel_redelivered_total", **good) is not None
        asked = value(found, "cloudcore_send_sync_seconds_count", **good)
        assert asked
        assert value(found, "cloudcore_send_sync_seconds_bucket", **good, le="30.0") == asked
        assert value(found, "cloudcore_send_sync_seconds_bucket", **good, le="1e-05") is not None
        assert value(found, "cloudcore_channel_unanswered_total", **good) == 0


def test_a_module_s_counters_go_on_after_a_crash_and_its_gauges_do_not(tmp_path: Path) -> None:
    with Running(tmp_path, "measured") as running:
        running.ready("measured")
        found = metrics(running)
        assert value(found, "testbed_starts_total") == 1
        assert value(found, "testbed_mood", which="good") == 7
        os.kill(running.module("measured")["pid"], signal.SIGKILL)
        running.wait_for("measured: ready -> crashed")
        running.ready("measured")
        found = metrics(running)
        assert value(found, "testbed_starts_total") == 2
        assert value(found, "testbed_mood", which="good") is None


def test_metrics_that_were_imported_before_the_fork_are_the_module_s(tmp_path: Path) -> None:
    with Running(tmp_path, "heavy", "measured") as running:
        running.ready("heavy", "measured")
        for lives in (1, 2, 3):
            found = metrics(running)
            assert value(found, "testbed_lives_total") == lives
            assert value(found, "testbed_starts_total") == 1
            os.kill(running.module("heavy")["pid"], signal.SIGKILL)
            running.wait_for("heavy: ready -> crashed")
            running.ready("heavy")


def test_the_metrics_of_a_module_that_hangs_can_be_read(tmp_path: Path) -> None:
    with Running(tmp_path, "measured") as running:
        running.ready("measured")
        os.kill(running.module("measured")["pid"], signal.SIGSTOP)
        assert value(metrics(running), "testbed_starts_total") == 1
        os.kill(running.module("measured")["pid"], signal.SIGCONT)


def test_a_new_run_begins_at_nought(tmp_path: Path) -> None:
    for _ in range(2):
        with Running(tmp_path, "measured") as running:
            running.ready("measured")
            assert value(metrics(running), "testbed_starts_total") == 1
            running.process.kill()
            running.process.wait(20)


def test_a_damaged_file_of_one_module_hides_the_metrics_of_no_other(tmp_path: Path) -> None:
    with Running(tmp_path, "measured") as running:
        running.ready("measured")
        before = {name for name, _ in metrics(running)}
        (tmp_path / "run" / "metrics" / "counter_killed.db").touch()
        (tmp_path / "run" / "metrics" / "counter_mad.db").write_bytes(b"\xff" * 4096)
        assert {name for name, _ in metrics(running)} == before
        running.wait_for("cannot read the metrics in counter_killed.db")
