"""The verbs, as commands against a running supervisor."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from supervisor import client
from tests.support.running import DEADLINE, Running
from tests.support.waiting import block_until


def configure(base: Path, *lines: str, enabled: str = '"good", "listening"') -> None:
    quick = "supervisor.stop_timeout = 0.3"  # some of them hear no signal
    text = "\n".join([f"modules.enabled = [{enabled}]", quick, *lines])
    (base / "cloudcore.toml").write_text(text)


def pids(running: Running, *names: str) -> dict[str, int]:
    return {name: running.module(name)["pid"] for name in names}


def test_restart_replaces_a_process_and_waits_for_it(tmp_path: Path) -> None:
    with Running(tmp_path, "good", "asking") as running:
        running.ready("good", "asking")
        before = pids(running, "good", "asking")
        done = running.cli("restart", "good")
        assert done.returncode == 0
        after = running.module("good")
        assert done.stdout == f"good: ready, process {after['pid']}\n"
        assert after["restarts_by_cause"] == {"request": 1}
        assert after["pid"] != before["good"]
        assert running.detail("asking", "asked")
        assert running.module("asking")["pid"] == before["asking"]
        kinds = [line.split()[0] for line in running.lines("good")]
        assert kinds == ["start", "unwound", "cleanup", "start"]


def test_stop_and_start(tmp_path: Path) -> None:
    with Running(tmp_path, "good", "telling", sets=('modules.telling.to="good"',)) as running:
        running.ready("good", "telling")
        assert running.cli("stop", "good").stdout == "stopped\n"
        stopped = running.module("good")
        assert (stopped["state"], stopped["pid"]) == ("stopped", None)
        assert running.cli("status").returncode == 1
        running.cli("restart", "telling")
        running.wait_for("ModuleUnavailable: cannot send to 'good': the module is stopped")
        assert running.cli("start", "good").returncode == 0
        assert running.module("good")["state"] == "ready"
        assert running.cli("start", "good").returncode == 0  # which changes nothing
        assert running.module("good")["restarts_by_cause"] == {"request": 1}


def test_start_of_one_that_fails_tells_why(tmp_path: Path) -> None:
    with Running(tmp_path, "good", "refusing") as running:
        running.wait_for("refusing: crashed -> failed")
        done = running.cli("start", "refusing")
        assert done.returncode == 1
        assert done.stdout == "refusing: failed (the certificate is not for this key)\n"


def test_start_does_not_wait_for_a_backoff_to_end(tmp_path: Path) -> None:
    sets = ("supervisor.backoff_initial=1000.0", "supervisor.backoff_max=1000.0")
    with Running(tmp_path, "good", sets=sets) as running:
        running.ready("good")
        os.kill(running.module("good")["pid"], signal.SIGKILL)
        running.wait_for("good: crashed -> backoff")
        assert running.cli("start", "good").returncode == 0
        assert running.module("good")["state"] == "ready"


@pytest.mark.parametrize("verb", ["start", "stop", "restart", "enable", "disable"])
def test_a_module_that_does_not_exist(tmp_path: Path, verb: str) -> None:
    with Running(tmp_path, "good") as running:
        running.ready("good")
        done = running.cli(verb, "goood")
        assert done.returncode == 1
        assert "no module 'goood'" in done.stderr
        assert "good" in done.stderr


def test_enable_and_disable(tmp_path: Path) -> None:
    with Running(tmp_path, "good") as running:
        running.ready("good")
        before = running.module("good")["pid"]
        assert "is disabled; run `cloudcore enable listening` first" in (
            running.cli("start", "listening").stderr
        )
        done = running.cli("enable", "listening")
        assert done.stdout == "started: listening\nunchanged: good\n"
        assert running.module("listening")["state"] == "ready"
        done = running.cli("disable", "good")
        assert done.stdout == "stopped: good\nunchanged: listening\n"
        good = running.module("good")
        assert (good["state"], good["enabled"]) == ("disabled", False)
        assert "module good is disabled" in running.cli("logs", "good").stderr
        reason = "disabled by `cloudcore disable`, until the next reload or restart"
        assert good["reason"] == reason
        assert [line.split()[0] for line in running.lines("good")][-1] == "cleanup"
        running.cli("enable", "good")
        assert running.module("good")["pid"] not in {None, before}
        running.cli("reload")
        assert running.module("listening")["reason"] == "modules.enabled does not name it"


def test_reload_starts_stops_restarts_and_leaves_alone(tmp_path: Path) -> None:
    configure(tmp_path, enabled='"good", "several", "deaf"')
    with Running(tmp_path, "-") as running:
        running.ready("good", "several", "several-2", "deaf")
        before = pids(running, "good", "several", "several-2")
        configure(
            tmp_path,
            "modules.several.processes = 1",
            "supervisor.crash_reports = 7",
            enabled='"good", "several", "parent"',
        )
        os.kill(running.module("deaf")["pid"], signal.SIGKILL)
        running.ready("deaf")
        done = running.cli("reload", "-o", "json")
        assert json.loads(done.stdout) == {
            "started": ["parent"],
            "restarted": ["several"],
            "stopped": ["deaf"],
            "unchanged": ["good"],
            "not_ready": [],
            "needs_restart": [],
        }
        status = {module["name"]: module for module in running.status()["modules"]}
        assert status["good"]["pid"] == before["good"]
        assert status["several"]["pid"] != before["several"]
        assert "several-2" not in status
        assert status["parent"]["state"] == "ready"
        assert status["deaf"]["enabled"] is False
        assert status["several"]["restarts_by_cause"] == {"reload": 1}


def test_a_faulty_file_changes_nothing_and_says_why(tmp_path: Path) -> None:
    configure(tmp_path)
    with Running(tmp_path, "-") as running:
        running.ready("good", "listening")
        before = pids(running, "good", "listening")
        for text, says in (
            ("modules.enabled = [", "it is not TOML"),
            ('modules.enabled = ["goood"]', "goood"),
            ('modules.enabled = ["good"]\nsupervisor.watchdog = "soon"', "supervisor.watchdog"),
        ):
            (tmp_path / "cloudcore.toml").write_text(text)
            done = running.cli("reload")
            assert done.returncode == 1
            assert "nothing has changed: " in done.stderr
            assert says in done.stderr
        assert pids(running, "good", "listening") == before


def test_an_address_that_is_taken_changes_nothing_either(tmp_path: Path) -> None:
    configure(tmp_path)
    with Running(tmp_path, "-") as running, socket.create_server(("127.0.0.1", 0)) as taken:
        running.ready("good", "listening")
        before = pids(running, "good", "listening")
        configure(
            tmp_path, f"modules.listening.port = {taken.getsockname()[1]}", enabled='"listening"'
        )
        done = running.cli("reload")
        assert "nothing has changed: cannot listen on 127.0.0.1:" in done.stderr
        assert pids(running, "good", "listening") == before


def test_a_module_that_cannot_be_made_of_its_configuration_keeps_the_former(tmp_path: Path) -> None:
    configure(tmp_path, enabled='"good", "picky"')
    with Running(tmp_path, "-") as running:
        running.ready("good", "picky")
        before = pids(running, "good", "picky")
        sour = 'modules.picky.taste = "sour"'
        slow = "modules.good.supervision.stop_timeout = 3.0"
        configure(tmp_path, sour, slow, enabled='"good", "picky"')
        done = running.cli("reload")
        assert done.returncode == 1
        assert "nothing has changed: " in done.stderr
        assert "the constructor of module picky fails: ValueError: sour is not" in done.stderr
        assert pids(running, "good", "picky") == before
        configure(tmp_path, slow, enabled='"good"')
        assert running.cli("reload").stdout == "restarted: good\nstopped: picky\n"
        configure(tmp_path, sour, slow, enabled='"good", "picky"')
        assert "sour is not to its taste; correct its table" in running.cli("reload").stderr
        configure(tmp_path, slow, enabled='"good", "picky"')
        assert running.cli("reload").stdout == "started: picky\nunchanged: good\n"


def test_a_refused_reload_leaves_the_reason_of_a_disabled_module(tmp_path: Path) -> None:
    configure(tmp_path)
    with Running(tmp_path, "-") as running:
        running.ready("good", "listening")
        running.cli("disable", "good")
        reason = running.module("good")["reason"]
        assert reason.startswith("disabled by `cloudcore disable`")
        configure(tmp_path, 'modules.picky.taste = "sour"', enabled='"listening", "picky"')
        assert "nothing has changed: " in running.cli("reload").stderr
        assert running.module("good")["reason"] == reason
        configure(tmp_path, enabled='"listening"')
        assert running.cli("reload").stdout == "unchanged: listening\n"
        assert running.module("good")["reason"] == "modules.enabled does not name it"


def test_a_module_that_cannot_be_made_is_named_at_the_start(tmp_path: Path) -> None:
    with Running(tmp_path, "picky", sets=('modules.picky.taste="sour"',)) as running:
        running.wait_for(r"modules\.picky: the constructor of module picky fails: ValueError: sour")
        assert running.process.wait(20) == 1


def test_a_changed_address_is_a_new_socket_and_the_old_one_is_closed(tmp_path: Path) -> None:
    configure(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with Running(tmp_path, "-", sets=()) as running:
        running.ready("good", "listening")
        old = running.module("listening")["details"]["listen"]["echo"]
        configure(tmp_path, f"modules.listening.port = {port}")
        assert running.cli("reload").returncode == 0
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            assert int(connection.recv(100)) == running.module("listening")["pid"]
        host, _, old_port = old.partition(":")
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((host, int(old_port)), timeout=10)


def test_reload_tells_what_only_a_new_start_takes_over(tmp_path: Path) -> None:
    configure(tmp_path)
    with Running(tmp_path, "-") as running:
        running.ready("good", "listening")
        configure(tmp_path, "supervisor.max_deliveries = 5", 'admin.address = "127.0.0.1:0"')
        done = running.cli("reload")
        assert done.stdout == "unchanged: good, listening\n"
        assert "supervisor.max_deliveries, admin.address" in done.stderr


def test_a_stopped_module_takes_a_new_configuration_over_without_starting(tmp_path: Path) -> None:
    configure(tmp_path)
    with Running(tmp_path, "-") as running:
        running.ready("good", "listening")
        running.cli("stop", "listening", "good")
        configure(tmp_path, "modules.good.supervision.stop_timeout = 3.0")
        assert "restarted: good" in running.cli("reload").stdout
        assert running.module("good")["state"] == "stopped"


def test_verbs_while_it_stops_are_refused(tmp_path: Path) -> None:
    sets = ("modules.deaf.supervision.stop_timeout=2.0",)
    with Running(tmp_path, "deaf", sets=sets) as running:
        running.ready("deaf")
        running.signal(signal.SIGTERM)
        running.wait_for("deaf: ready -> stopping")
        with pytest.raises(client.Refused, match="cloudcore is stopping"):
            running.post("/modules/deaf/restart")
        with pytest.raises(client.Refused, match="cloudcore is stopping"):
            running.post("/reload")


def test_logs_of_one_and_of_all(tmp_path: Path) -> None:
    with Running(tmp_path, "chatty", "good") as running:
        running.ready("chatty", "good")
        running.detail("chatty", "wrote")
        deadline = time.monotonic() + 20  # the supervisor may not have read it yet
        while not running.cli("logs", "chatty", "-n", "1").stdout.endswith("on stdout\n"):
            assert time.monotonic() < deadline
        everything = running.cli("logs", "-n", "1000").stdout
        assert "supervisor[" in everything
        lines = running.cli("logs", "chatty", "-n", "1", "-o", "json").stdout
        assert json.loads(lines)["module"] == "chatty"
        assert running.cli("logs", "nobody").returncode == 1


def test_events_and_their_stream(tmp_path: Path) -> None:
    with Running(tmp_path, "good") as running:
        running.ready("good")
        told = [
            json.loads(line) for line in running.cli("events", "-o", "json").stdout.splitlines()
        ]
        assert [event["new"] for event in told] == ["stopped", "starting", "ready"]
        following = client.stream(running.admin_socket, "/events?follow=true&module=good")
        seen = [json.loads(next(following))["new"] for _ in range(3)]
        os.kill(running.module("good")["pid"], signal.SIGKILL)
        seen += [json.loads(next(following))["new"] for _ in range(4)]
        assert seen[3:] == ["crashed", "backoff", "starting", "ready"]
        following.close()  # type: ignore[attr-defined]


def test_following_logs_ends_with_cloudcore(tmp_path: Path) -> None:
    with Running(tmp_path, "good") as running:
        running.ready("good")
        following = client.stream(running.admin_socket, "/logs?follow=true&module=supervisor")
        assert next(following)  # what was before
        running.signal(signal.SIGTERM)
        rest = list(following)
        assert any("all modules have stopped" in line for line in rest)
        assert running.wait() == 0


def test_top_tells_rates_between_two_looks(tmp_path: Path) -> None:
    with Running(tmp_path, "good", "asking") as running:
        running.ready("good", "asking")
        running.detail("asking", "asked")
        looks = running.cli("top", "--count", "2", "--interval", "0.2", "-o", "json").stdout
        first, second = (json.loads(line) for line in looks.splitlines())
        good = next(module for module in second if module["name"] == "good")
        assert good["handled_per_second"] > 0
        assert good["state"] == "ready"
        assert {module["name"] for module in first} == {"good", "asking"}
        table = running.cli("top", "--count", "1", "--interval", "0.1").stdout.splitlines()
        assert table[0].split() == [
            *("NAME", "STATE", "PID", "CPU", "RSS", "THREADS", "FDS"),
            *("IN/s", "DONE/s", "WAIT", "AGAIN"),
        ]


def test_stop_tells_what_it_stopped(tmp_path: Path) -> None:
    with Running(tmp_path, "good") as running:
        running.ready("good")
        (stopped,) = json.loads(running.cli("stop", "good", "-o", "json").stdout)
        assert (stopped["name"], stopped["state"]) == ("good", "stopped")
        done = running.cli("stop", "-o", "json")
        assert json.loads(done.stdout) == {"pid": running.process.pid, "not_in_order": {}}
        assert running.wait() == 0


def test_modules_are_completed(tmp_path: Path) -> None:
    with Running(tmp_path, "good", "asking") as running:
        running.ready("good", "asking")
        script = running.cli("completion", "bash").stdout
        assert "_CLOUDCORE_COMPLETE=bash_complete" in script
        words = ["cloudcore", *running.directories, "restart", "go"]
        env = {
            "_CLOUDCORE_COMPLETE": "bash_complete",
            "COMP_WORDS": " ".join(words),
            "COMP_CWORD": str(len(words) - 1),
        }

        def completed() -> list[str]:
            done = subprocess.run(
                [sys.executable, "-m", "supervisor"],
                env=os.environ | env,
                capture_output=True,
                text=True,
                timeout=DEADLINE,
                check=False,
            )
            return done.stdout.splitlines()

        # Who types is not kept waiting for the supervisor: there may be no answer in time.
        block_until(lambda: completed() == ["plain,good"])
