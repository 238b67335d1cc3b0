"""`status` and `stop` as processes of their own, against a supervisor that is made up."""

import http.server
import json
import os
import signal
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from supervisor import client
from supervisor.cli.words import duration, size
from tests.support.waiting import block_until

DEADLINE = 30

ONE_MODULE: dict[str, Any] = {
    "name": "cloudhub",
    "group": "hub",
    "enabled": True,
    "state": "ready",
    "pid": 1235,
    "started_at": "2026-01-01T00:00:00.000Z",
    "uptime_seconds": 90.5,
    "restarts": 2,
    "last_exit": {
        "at": "2026-01-01T00:00:00.000Z",
        "code": None,
        "signal": "SIGKILL",
        "reason": "out of\x1b[31m memory",
        "traceback": "",
    },
    "cpu_percent": 12.34,
    "rss_bytes": 80 * 1024 * 1024,
    "threads": 3,
    "fds": 20,
    "inbox": {
        "messages": 7,
        "bytes": 2100,
        "capacity_bytes": 1000000,
        "received_total": 10,
        "redelivered_total": 1,
        "dead_letters": 4,
    },
    "details": {"listen": {"websocket": "0.0.0.0:10000"}, "connected_nodes": 3, "refused": {}},
}
OFF = ONE_MODULE | {
    "name": "devicecontroller",
    "group": "twin",
    "enabled": False,
    "state": "disabled",
    "pid": None,
    "started_at": None,
    "uptime_seconds": None,
    "restarts": 0,
    "last_exit": None,
    "cpu_percent": None,
    "rss_bytes": None,
    "threads": None,
    "fds": None,
    "inbox": dict.fromkeys(ONE_MODULE["inbox"], 0),
    "details": {},
}


def document(**changes: Any) -> dict[str, Any]:
    return {
        "version": "0.1.0",
        "pid": 1234,
        "started_at": "2026-01-01T00:00:00.000Z",
        "uptime_seconds": 7230.0,
        "state": "running" if changes.get("state", "ready") == "ready" else "degraded",
        "modules": [ONE_MODULE | changes, OFF],
    }


Answer = Callable[[str], tuple[int, bytes]]


@contextmanager
def supervisor(run_dir: Path, answer: Answer) -> Iterator[None]:
    """Answer at the admin socket; `answer` gets "GET /status" and the like."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = answer(f"{self.command} {self.path}")
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815 - http.server has it so

        def log_message(self, *_: Any) -> None:
            pass

    run_dir.mkdir(mode=0o700, exist_ok=True)
    with socketserver.ThreadingUnixStreamServer(str(run_dir / "admin.sock"), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join(DEADLINE)


def answering(told: Any, status: int = 200) -> Answer:
    return lambda _: (status, json.dumps(told).encode())


def command(run_dir: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "supervisor", "--run-dir", str(run_dir), *arguments]


def run(
    run_dir: Path, *arguments: str, columns: int | None = None
) -> subprocess.CompletedProcess[str]:
    environ = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    if columns:
        environ["COLUMNS"] = str(columns)
    return subprocess.run(
        command(run_dir, *arguments),
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        env=environ,
        check=False,
    )


def test_status_when_nothing_is_running(tmp_path: Path) -> None:
    for run_dir in (tmp_path, tmp_path / "missing"):
        result = run(run_dir, "status", "-o", "json")
        assert result.returncode == 3
        assert result.stdout == ""
        assert result.stderr.startswith("cloudcore is not running: ")


def test_status_when_a_killed_one_left_its_socket(tmp_path: Path) -> None:
    with supervisor(tmp_path, answering({})):
        pass
    assert (tmp_path / "admin.sock").exists()
    assert run(tmp_path, "status").returncode == 3


@pytest.mark.parametrize(("state", "code"), [("ready", 0), ("starting", 1), ("failed", 1)])
def test_status_exits_as_the_enabled_modules_are(state: str, code: int, tmp_path: Path) -> None:
    with supervisor(tmp_path, answering(document(state=state))):
        assert run(tmp_path, "status").returncode == code


def test_status_for_programs_is_the_document_itself(tmp_path: Path) -> None:
    with supervisor(tmp_path, answering(document())):
        assert json.loads(run(tmp_path, "status", "-o", "json").stdout) == document()
        assert yaml.safe_load(run(tmp_path, "status", "-o", "yaml").stdout) == document()


def test_status_in_80_columns(tmp_path: Path) -> None:
    with supervisor(tmp_path, answering(document())):
        lines = run(tmp_path, "status", columns=80).stdout.splitlines()
    assert max(map(len, lines)) <= 80
    table = [line.split() for line in lines[1:4]]
    assert table == [
        ["NAME", "STATE", "PID", "UP", "RESTARTS", "CPU", "RSS", "INBOX"],
        ["cloudhub", "ready", "1235", "1m30s", "2", "12.3%", "80.0", "MiB", "7"],
        ["devicecontroller", "disabled", "-", "-", "0", "-", "-", "0"],
    ]
    assert lines[4:6] == ["", "cloudhub"]
    assert lines[6].startswith("  last exit: SIGKILL ")
    assert lines[6].endswith(" ago (out of [31m memory)")
    assert lines[7].split() == [
        "listen=websocket:0.0.0.0:10000",
        "connected_nodes=3",
        "dead_letters=4",
    ]
    assert len(lines) == 8


def test_status_into_a_pipe_has_one_line_a_module_and_no_colour(tmp_path: Path) -> None:
    with supervisor(tmp_path, answering(document())):
        result = run(tmp_path, "status")
    lines = result.stdout.splitlines()
    assert len(lines) == 4
    headings = " ".join(lines[1].split())
    assert headings == "NAME GROUP STATE PID UP RESTARTS CPU RSS INBOX LAST EXIT DETAILS"
    assert lines[2].split()[:3] == ["cloudhub", "hub", "ready"]
    assert lines[2].rstrip().endswith("connected_nodes=3 dead_letters=4")
    assert "\x1b" not in "".join(lines)


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (answering({"error": "no such thing"}, 404), "Error: no such thing"),
        (lambda _: (200, b"<html>"), "GET /status at {}: the answer, status 200, is not JSON"),
    ],
)
def test_an_answer_that_cannot_be_used(answer: Answer, says: str, tmp_path: Path) -> None:
    with supervisor(tmp_path, answer):
        result = run(tmp_path, "status")
    assert result.returncode == 4
    assert says.format(tmp_path / "admin.sock") in result.stderr


def test_a_supervisor_that_does_not_answer(tmp_path: Path) -> None:
    never = threading.Event()
    with supervisor(tmp_path, lambda _: (200, b"") if never.wait(DEADLINE) else (500, b"")):
        with pytest.raises(client.AdminError, match=r"no answer from .* within 0.05 s"):
            client.request(tmp_path / "admin.sock", "GET", "/status", timeout=0.05)
        never.set()


def test_something_that_does_not_speak_http(tmp_path: Path) -> None:
    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.rfile.readline()
            self.wfile.write(b"+PONG\r\n")

    path = tmp_path / "admin.sock"
    with socketserver.UnixStreamServer(str(path), Handler) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        with pytest.raises(client.AdminError, match="is not HTTP"):
            client.request(path, "GET", "/status")
        thread.join(DEADLINE)


def test_watch_prints_one_document_a_line_until_it_is_interrupted(tmp_path: Path) -> None:
    arguments = command(tmp_path, "status", "--watch", "--interval", "0.1", "-o", "json")
    with (
        supervisor(tmp_path, answering(document(state="starting"))),
        subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process,
    ):
        try:
            assert process.stdout
            for _ in range(3):
                assert json.loads(process.stdout.readline()) == document(state="starting")
            process.send_signal(signal.SIGINT)
            assert process.wait(DEADLINE) == 1
        finally:
            process.kill()


def test_watch_ends_with_what_it_watches(tmp_path: Path) -> None:
    arguments = command(tmp_path, "status", "--watch", "--interval", "0.1", "-o", "json")
    with supervisor(tmp_path, answering(document())):
        process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert process.stdout
        process.stdout.readline()
    try:
        _, said = process.communicate(timeout=DEADLINE)
    finally:
        process.kill()
    assert process.returncode == 3
    assert said.startswith(b"cloudcore is not running")


def test_stop_waits_until_the_process_has_ended(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "60"]) as process:

        def answer(asked: str) -> tuple[int, bytes]:
            if asked == "POST /stop":
                threading.Timer(0.3, process.kill).start()
                return 202, json.dumps({"pid": process.pid}).encode()
            return 404, b"{}"

        with supervisor(tmp_path, answer):
            begun = time.monotonic()
            result = run(tmp_path, "stop")
        assert result.returncode == 0, result.stderr
        assert result.stdout == "stopped\n"
        assert time.monotonic() - begun >= 0.3
        assert process.wait(DEADLINE) == -signal.SIGKILL


def test_stop_says_when_it_has_waited_long_enough(tmp_path: Path) -> None:
    with supervisor(tmp_path, answering({"pid": os.getpid()}, 202)):
        result = run(tmp_path, "stop", "--timeout", "0.1")
    assert result.returncode == 1
    assert f"process {os.getpid()} did not exit within 0.1 s" in result.stderr


def test_stop_names_the_module_that_it_waits_for(tmp_path: Path) -> None:
    def answer(asked: str) -> tuple[int, bytes]:
        if asked == "POST /stop":
            return 202, json.dumps({"pid": os.getpid()}).encode()
        return 200, json.dumps(document(state="stopping")).encode()

    def said() -> list[str]:
        result = run(tmp_path, "stop", "--timeout", "2.5")
        assert result.returncode == 1
        last = "did not exit within 2.5 s: cloudhub is stopping; `cloudcore status`"
        assert last in result.stderr
        return result.stderr.splitlines()

    waits = f"waiting for cloudcore, process {os.getpid()}, to exit: cloudhub is stopping ..."
    with supervisor(tmp_path, answer):
        block_until(lambda: waits in said())  # it says so once, and may not know it by then


def test_stop_of_nothing_is_done_at_once(tmp_path: Path) -> None:
    result = run(tmp_path, "stop")
    assert result.returncode == 0
    assert result.stderr.startswith("cloudcore is not running")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.9, "0s"),
        (59, "59s"),
        (60, "1m"),
        (90, "1m30s"),
        (600, "10m"),
        (3600, "1h"),
        (5400, "1h30m"),
        (86399, "23h"),
        (90000, "1d1h"),
        (8 * 86400 + 3600, "8d"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (100 * 1024, "100 KiB"),
        (80.5 * 1024**2, "80.5 MiB"),
        (2 * 1024**3, "2.0 GiB"),
        (3000 * 1024**3, "3000 GiB"),
    ],
)
def test_sizes(count: float, text: str) -> None:
    assert size(count) == text
