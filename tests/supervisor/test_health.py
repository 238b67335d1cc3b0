"""Hung modules, and those that take too much."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest

from supervisor import client
from tests.support.running import Running, suspend
from tests.support.waiting import block_until

WATCHDOG = ("supervisor.watchdog=0.6",)


def telling(seconds: float, *, alive: bool) -> tuple[str, ...]:
    """Let the module `stuck` handle one message for so long."""
    return (*WATCHDOG, f"modules.telling.content=[{seconds}, {str(alive).lower()}]")


def test_an_event_loop_that_hangs_is_aborted_with_its_stacks(tmp_path: Path) -> None:
    sets = (*WATCHDOG, 'modules.telling.to="hanging"')
    with Running(tmp_path, "hanging", "telling", sets=sets) as running:
        running.ready("hanging", "telling")
        running.wait_for(r"module hanging: hung: no sign of life for \d")
        running.wait_for(r"hanging: ready -> crashed \(hung: no sign of life")
        running.ready("hanging")
        module = running.module("hanging")
        assert module["last_exit"]["signal"] == "SIGABRT"
        assert module["restarts_by_cause"] == {"hung": 1}
        shown = running.cli("crashes", "hanging", "--last").stdout
        assert "hung: no sign of life" in shown
        assert "Fatal Python error: Aborted" in shown
        assert "in start" in shown
        assert "badmodules.py" in shown


def test_a_hung_process_that_cannot_even_abort_is_killed(tmp_path: Path) -> None:
    # Long enough that the reason is seen before the end.
    with Running(tmp_path, "good", "asking", sets=("supervisor.watchdog=2.0",)) as running:
        running.ready("good", "asking")
        pid = running.module("good")["pid"]
        suspend(pid)
        named = f"process {pid} is suspended \\(SIGSTOP, or a debugger\\); `kill -CONT {pid}`"
        assert re.match(named, running.module("good")["reason"])
        pattern = rf"good: ready -> crashed \(hung: no sign of life for [\d.]+ s: {named}"
        running.wait_for(pattern, timeout=30)
        running.ready("good")
        assert running.module("good")["reason"] == ""
        assert running.module("good")["last_exit"]["signal"] == "SIGKILL"


def test_a_module_that_does_not_keep_up_is_in_trouble_until_it_does(tmp_path: Path) -> None:
    with Running(tmp_path, "good", "flooding", sets=("supervisor.watchdog=0",)) as running:
        running.ready("good", "flooding")
        pid = running.module("good")["pid"]
        suspend(pid)
        running.wait_for(f"module good: process {pid} is suspended")
        running.wait_for(r"module good: its channel has been full for \d s: messages=\d+; senders")
        status = running.module("good")
        assert status["state"] == "ready"
        assert re.search(r"is suspended .*; its channel has been full for \d+ s", status["reason"])
        assert "`cloudcore top --view channels` shows" in running.cli("status").stdout
        assert running.cli("stop", "flooding").returncode == 0
        os.kill(pid, signal.SIGCONT)
        running.wait_for(f"module good: process {pid} goes on")
        running.wait_for("module good: its channel has room again")
        assert running.module("good")["reason"] == ""
        assert running.log.count("its channel has been full") == 1


def test_a_supervisor_that_is_suspended_is_named(tmp_path: Path) -> None:
    with Running(tmp_path, "good") as running:
        running.ready("good")
        pid = running.process.pid
        suspend(pid)
        why = rf"within 0\.2 s: process {pid} is suspended .*; `kill -CONT {pid}` continues it"
        with pytest.raises(client.AdminError, match=why):
            client.request(running.admin_socket, "GET", "/status", timeout=0.2)
        os.kill(pid, signal.SIGCONT)
        assert running.status()["pid"] == pid


def test_a_channel_that_was_full_is_no_trouble_of_the_next_process(tmp_path: Path) -> None:
    with Running(tmp_path, "good", "flooding", sets=("supervisor.watchdog=0",)) as running:
        running.ready("good", "flooding")
        pid = running.module("good")["pid"]
        suspend(pid)
        running.wait_for("module good: its channel has been full for")
        running.cli("stop", "flooding")
        os.kill(pid, signal.SIGKILL)
        running.wait_for(r"good: ready -> crashed \(killed by SIGKILL\)\n")
        running.wait_for(r"good: starting -> ready\n")
        running.detail("good", "answered")  # it has handled something
        assert running.module("good")["reason"] == ""
        assert running.log.count("its channel has been full") == 1


def test_a_blocking_module_that_hangs_in_a_message_is_aborted(tmp_path: Path) -> None:
    sets = telling(3600, alive=False)
    with Running(tmp_path, "stuck", "telling", sets=sets) as running:
        running.ready("stuck", "telling")
        running.wait_for(r"stuck: ready -> crashed \(hung: no sign of life")


def test_a_cleanup_that_hangs_when_nobody_has_asked_for_it_is_aborted(tmp_path: Path) -> None:
    with Running(tmp_path, "lingering", sets=WATCHDOG) as running:
        running.ready("lingering")
        os.kill(running.module("lingering")["pid"], signal.SIGTERM)
        running.wait_for(r"lingering: ready -> crashed \(hung: no sign of life")
        running.ready("lingering")
        assert [line.split()[0] for line in running.lines("lingering")] == ["cleanup"]


def test_one_that_says_it_is_alive_is_left_alone(tmp_path: Path) -> None:
    sets = telling(2, alive=True)
    with Running(tmp_path, "stuck", "telling", sets=sets) as running:
        running.ready("stuck", "telling")
        assert running.detail("telling", "answer") == "done"
        assert running.events("stuck")[-1] == "starting -> ready"


def test_idle_and_busy_modules_are_left_alone(tmp_path: Path) -> None:
    """`good` is asked without a pause, then nobody asks it; `deaf` receives nothing at all."""
    with Running(tmp_path, "good", "asking", "deaf", sets=WATCHDOG) as running:
        running.ready("good", "asking", "deaf")
        before = running.detail("asking", "asked")
        while running.module("good")["uptime_seconds"] < 1.5:
            pass
        block_until(lambda: running.detail("asking", "asked") > before)
        running.cli("stop", "asking")
        while running.module("good")["uptime_seconds"] < 3:
            pass
        assert running.events("good")[-1] == "starting -> ready"
        assert running.events("deaf")[-1] == "starting -> ready"


def test_the_watchdog_can_be_off(tmp_path: Path) -> None:
    sets = ("supervisor.watchdog=0.0", 'modules.telling.to="hanging"')
    with Running(tmp_path, "hanging", "telling", sets=sets) as running:
        running.ready("hanging", "telling")
        while not running.lines("hanging") or running.module("hanging")["uptime_seconds"] < 2:
            pass
        assert running.events("hanging")[-1] == "starting -> ready"


def test_too_much_memory_is_a_restart_in_order(tmp_path: Path) -> None:
    sets = (
        "modules.greedy.mebibytes=150",
        "modules.greedy.supervision.max_rss=120000000",
        "modules.greedy.supervision.limit_grace=0.3",
        "modules.greedy.supervision.max_restarts=1",
    )
    with Running(tmp_path, "greedy", sets=sets) as running:
        running.ready("greedy")
        over = r"resident memory [\d,]+ bytes, over max_rss = 120,000,000 for \d"
        running.wait_for(rf"greedy: ready -> stopping \({over}")
        running.wait_for(rf"greedy: stopping -> backoff \(restart in 0.0 s, because of {over}")
        running.wait_for(r"greedy: stopping -> failed \(more than 1 restarts in 600 s\)")
        module = running.module("greedy")
        assert module["restarts_by_cause"] == {"limit": 1}
        assert "over max_rss" in module["last_exit"]["reason"]
        kinds = [line.split()[0] for line in running.lines("greedy")]
        assert kinds == ["start", "unwound", "cleanup"] * 2


def test_too_many_descriptors_are_a_restart(tmp_path: Path) -> None:
    sets = (
        "modules.greedy.descriptors=300",
        "modules.greedy.supervision.max_fds=250",
        "modules.greedy.supervision.limit_grace=0.3",
    )
    with Running(tmp_path, "greedy", "good", sets=sets) as running:
        running.ready("greedy", "good")
        running.wait_for(r"greedy: ready -> stopping \(\d+ descriptors, over max_fds = 250 for")
        assert running.events("good")[-1] == "starting -> ready"
