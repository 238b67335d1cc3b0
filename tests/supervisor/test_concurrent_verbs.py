"""Verbs, reloads and shutdowns that meet one another."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from pathlib import Path

import pytest

from supervisor import client
from tests.support.running import DEADLINE, Running


def wait_answered(running: Running) -> None:
    """Wait until the connections that have hung up are noticed, and there is room for more."""
    deadline = time.monotonic() + DEADLINE
    while True:
        try:
            running.status()
        except client.Refused:  # too many connections
            assert time.monotonic() < deadline
        else:
            return


def in_background(running: Running, target: str) -> threading.Thread:
    def ask() -> None:
        try:
            running.post(target)
        except (client.NotRunning, client.AdminError):
            return

    thread = threading.Thread(target=ask)
    thread.start()
    return thread


def test_a_module_that_crashes_again_and_again_holds_up_no_other_verb(tmp_path: Path) -> None:
    sets = ("supervisor.max_restarts=1000", "modules.raising.supervision.backoff_max=0.1")
    with Running(tmp_path, "raising", "good", sets=sets) as running:
        running.ready("good")
        done = running.cli("restart", "raising")
        assert done.returncode == 1
        assert running.cli("restart", "good").returncode == 0
        assert running.cli("stop", "raising").returncode == 0
        assert running.module("raising")["state"] == "stopped"


def test_a_verb_for_several_modules_continues_after_an_unknown_one(tmp_path: Path) -> None:
    with Running(tmp_path, "good", "asking") as running:
        running.ready("good", "asking")
        done = running.cli("restart", "good", "nobody", "asking")
        assert done.returncode == 1
        assert [line.split(":")[0] for line in done.stdout.splitlines()] == ["good", "asking"]
        assert "no module 'nobody'" in done.stderr


def test_enabling_one_that_fails_is_told(tmp_path: Path) -> None:
    with Running(tmp_path, "good") as running:
        running.ready("good")
        done = running.cli("enable", "refusing")
        assert done.returncode == 1
        assert "not ready: refusing" in done.stderr


def test_a_disabled_module_is_stopped_already(tmp_path: Path) -> None:
    with Running(tmp_path, "good") as running:
        running.ready("good")
        assert running.cli("stop", "listening").returncode == 0


@pytest.mark.parametrize("target", ["/modules/deaf/disable", "/reload", "/modules/deaf/restart"])
def test_a_shutdown_interrupts_a_change(tmp_path: Path, target: str) -> None:
    config = tmp_path / "cloudcore.toml"
    config.write_text('modules.enabled = ["deaf"]\nsupervisor.stop_timeout = 1.0')
    with Running(tmp_path, "-") as running:
        running.ready("deaf")
        config.write_text('modules.enabled = ["good"]\nsupervisor.stop_timeout = 1.0')
        thread = in_background(running, target)
        running.wait_for("deaf: ready -> stopping")
        running.signal(signal.SIGTERM)
        assert running.wait() == 0
        thread.join(DEADLINE)
        assert "Traceback" not in running.log
        assert running.lines("good") == []
        assert [line.split()[0] for line in running.lines("deaf")] == ["start", "cleanup"]


def test_a_module_that_waits_for_one_that_is_disabled_starts(tmp_path: Path) -> None:
    sets = ('modules.good.supervision.after=["slow"]',)
    with Running(tmp_path, "slow", "good", sets=sets) as running:
        running.wait_for("module good waits for slow")
        running.cli("disable", "slow")
        running.ready("good")


def test_a_reload_that_takes_the_condition_away_lets_a_module_start(tmp_path: Path) -> None:
    config = tmp_path / "cloudcore.toml"
    enabled = 'modules.enabled = ["slow", "good"]\n'
    config.write_text(enabled + 'modules.good.supervision.after = ["slow"]')
    with Running(tmp_path, "-") as running:
        running.wait_for("module good waits for slow")
        config.write_text(enabled)
        assert "restarted: good" in running.cli("reload").stdout
        running.ready("good")


def test_ready_is_said_though_one_module_crashes_again_and_again(tmp_path: Path) -> None:
    notify = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(notify))
        systemd.settimeout(DEADLINE)
        sets = ("supervisor.max_restarts=100000", "supervisor.backoff_max=0.1")
        with Running(
            tmp_path, "raising", "good", sets=sets, env={"NOTIFY_SOCKET": str(notify)}
        ) as running:
            while b"READY=1" not in systemd.recv(4096):
                pass
            assert running.module("raising")["state"] != "failed"


def test_the_shutdown_keeps_to_its_budget(tmp_path: Path) -> None:
    """Two that hear nothing and whose cleanups do not end: each alone would take a minute."""
    sets = ("supervisor.stop_timeout=60.0", "supervisor.shutdown_timeout=0.5")
    with Running(tmp_path, "deaf", "stubborn", sets=sets) as running:
        running.ready("deaf", "stubborn")
        running.signal(signal.SIGTERM)
        assert running.wait() == 0  # within the deadline, which is shorter than a minute
        assert [line.split()[0] for line in running.lines("stubborn")] == ["start", "cleanup"]


def test_a_cleanup_that_has_begun_is_not_run_again(tmp_path: Path) -> None:
    with Running(tmp_path, "lingering", sets=("supervisor.stop_timeout=2.0",)) as running:
        running.ready("lingering")
        running.cli("stop", "lingering")
        running.wait_for("module lingering: the cleanup was interrupted")
        assert [line.split()[0] for line in running.lines("lingering")] == ["cleanup"]


def test_followers_that_hang_up_at_once_leave_nothing_behind(tmp_path: Path) -> None:
    with Running(tmp_path, "good") as running:
        running.ready("good")
        before = len(os.listdir(f"/proc/{running.process.pid}/fd"))  # noqa: PTH208
        for target in (b"/logs", b"/events") * 60:
            running.write(b"GET %s?follow=true HTTP/1.1\r\nHost: x\r\n\r\n" % target).close()
        wait_answered(running)
        # More than are allowed at a time have come and gone: one more would be refused otherwise.
        following = client.stream(running.admin_socket, "/events?follow=true")
        assert next(following)
        following.close()  # type: ignore[attr-defined]
        deadline = 0
        while len(os.listdir(f"/proc/{running.process.pid}/fd")) > before + 2:  # noqa: PTH208
            deadline += 1
            assert deadline < 100_000
        assert running.cli("restart", "good").returncode == 0


def test_too_many_connections_over_tcp_do_not_shut_out_the_unix_socket(tmp_path: Path) -> None:
    with Running(tmp_path, "good", sets=('admin.address="127.0.0.1:0"',)) as running:
        url = running.wait_for(r"admin interface on http://127.0.0.1:(\d+)").group(1)
        running.ready("good")
        held = [socket.create_connection(("127.0.0.1", int(url)), DEADLINE) for _ in range(65)]
        assert held[0].recv(1) == b""  # the oldest that has sent no request makes room
        assert running.cli("status").returncode == 0
        for each in held:
            each.close()
