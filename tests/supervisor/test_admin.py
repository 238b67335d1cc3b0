"""The admin interface as HTTP: what it answers, to whom, and what it says of itself."""

from __future__ import annotations

import http.client
import json
import re
import socket
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import msgspec
import pytest

from supervisor import client
from supervisor.admin import openapi
from supervisor.admin.routes import ROUTES
from supervisor.admin.status import Status
from tests.support.running import Running

ON_TCP = ('admin.address="127.0.0.1:0"',)


def tcp(running: Running) -> str:
    return running.wait_for(r"admin interface on (http://127.0.0.1:\d+)").group(1)


def fetch(url: str, method: str = "GET", token: str = "") -> tuple[int, str, str]:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    request = urllib.request.Request(url, method=method, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=20) as response:
            return response.status, response.headers["Content-Type"], response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers["Content-Type"], error.read().decode()


def test_health_as_kubernetes_has_it(tmp_path: Path) -> None:
    with Running(tmp_path, "good", "slow", sets=ON_TCP) as running:
        url = tcp(running)
        running.ready("good")
        assert fetch(f"{url}/livez")[::2] == (200, "ok")
        assert fetch(f"{url}/readyz")[::2] == (
            503,
            "[+]good ok\n[-]slow failed: starting\nreadyz check failed\n",
        )
        running.cli("disable", "slow")
        assert fetch(f"{url}/readyz")[::2] == (200, "ok")
        assert fetch(f"{url}/readyz?verbose")[::2] == (200, "[+]good ok\nreadyz check passed\n")


def test_over_tcp_nothing_can_be_changed_or_read_in_logs_without_a_token(tmp_path: Path) -> None:
    with Running(tmp_path, "good", sets=ON_TCP) as running:
        url = tcp(running)
        running.ready("good")
        for route in ROUTES:
            target = url + re.sub(r"\{\w+\}", "good", route.path)
            for token in ("", "guessed"):
                status, _, body = fetch(target, route.method, token=token)
                assert (status == 403) is not route.open, (route, status)
            if not route.open:
                assert "needs the token of [admin] token_file" in body
        assert running.events("good")[-1] == "starting -> ready"


def test_with_the_token_everything_can_be_done_over_tcp(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("s3cret\n")
    sets = (*ON_TCP, f'admin.token_file="{tmp_path / "token"}"')
    with Running(tmp_path, "good", sets=sets) as running:
        url = tcp(running)
        running.ready("good")
        assert fetch(f"{url}/modules/good/restart", "POST")[0] == 403
        assert fetch(f"{url}/modules/good/restart", "POST", "s3cre")[0] == 403
        assert fetch(f"{url}/modules/good/restart", "POST", "s3cret")[0] == 200
        assert fetch(f"{url}/logs", token="s3cret")[0] == 200
        assert "s3cret" not in running.cli("logs").stdout
        assert "s3cret" not in running.cli("config", "show").stdout


@pytest.mark.parametrize(
    ("sets", "says"),
    [
        (('admin.address="127.0.0.1:{taken}"',), "the admin interface: .*address already in use"),
        (
            ('admin.address="127.0.0.1:0"', 'admin.token_file="{empty}"'),
            "is empty; write a token to it",
        ),
    ],
)
def test_an_admin_interface_that_cannot_listen_prevents_the_start(
    tmp_path: Path, sets: tuple[str, ...], says: str
) -> None:
    (tmp_path / "empty").touch()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        values = {"taken": taken.getsockname()[1], "empty": tmp_path / "empty"}
        sets = tuple(text.format(**values) for text in sets)
        with Running(tmp_path, "good", sets=sets) as running:
            running.wait_for(says)
            assert running.wait() == 1
            assert running.lines("good") == []
            assert list((tmp_path / "run").iterdir()) == []


def test_what_cannot_be_answered(tmp_path: Path) -> None:
    with Running(tmp_path, "good") as running:
        running.ready("good")
        for method, target, status, says in (
            ("GET", "/nothing", 404, "no such path: /nothing"),
            ("PUT", "/status", 405, "method PUT not allowed for /status (allowed: GET, HEAD)"),
            ("GET", "/reload", 405, "method GET not allowed for /reload (allowed: POST)"),
            ("GET", "/events?since=x", 400, "since='x' is not a number of up to 18 digits"),
            ("GET", f"/events?since={'9' * 5000}", 400, "is not a number"),
            ("GET", "/events?follow=x", 400, "follow='x' is not allowed (allowed: true, false)"),
            ("GET", "/crashes/none", 404, "no crash report 'none'"),
            ("POST", "/modules/x/stop", 404, "no module 'x' is running"),
            ("POST", "/modules/..%2Fx/stop", 404, "no module '../x' is running"),
        ):
            with pytest.raises(client.Refused, match=re.escape(says)) as caught:
                client.request(running.admin_socket, method, target)
            assert caught.value.status == status


def test_a_wrong_method_is_told_the_right_ones(tmp_path: Path) -> None:
    with Running(tmp_path, "good", sets=ON_TCP) as running:
        request = urllib.request.Request(f"{tcp(running)}/status", method="PUT")
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(request, timeout=20)
        with caught.value as answer:
            assert (answer.code, answer.headers["Allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize(
    "sent",
    [
        b"no http\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"POST /stop HTTP/1.1\r\nContent-Length: x\r\n\r\n",
    ],
)
def test_bad_requests_are_answered_as_such(tmp_path: Path, sent: bytes) -> None:
    with Running(tmp_path, "good") as running:
        running.ready("good")
        with running.write(sent) as connection:
            assert connection.makefile("rb").readline().startswith(b"HTTP/1.1 400 ")
        assert running.module("good")["state"] == "ready"


def test_a_body_that_nobody_needs_is_refused_when_it_grows(tmp_path: Path) -> None:
    with Running(tmp_path, "good") as running:
        running.ready("good")
        head = b"POST /stop HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n"
        with running.write(head) as connection:
            connection.sendall(b"x" * 200_000)
            assert connection.makefile("rb").readline().startswith(b"HTTP/1.1 413 ")
        assert running.module("good")["state"] == "ready"


@pytest.mark.parametrize("target", ["/status", "/logs?follow=true", "/nothing"])
def test_a_head_without_a_body(tmp_path: Path, target: str) -> None:
    with Running(tmp_path, "good") as running:
        running.ready("good")
        with running.write(f"HEAD {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode()) as connection:
            assert connection.makefile("rb").read().endswith(b"\r\n\r\n")
        assert "Traceback" not in running.cli("logs").stdout


def test_who_waits_to_be_told_to_go_on_is(tmp_path: Path) -> None:
    with Running(tmp_path, "good") as running:
        running.ready("good")
        head = (
            b"POST /reload HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
        )
        with running.write(head) as connection:
            answers = connection.makefile("rb")
            assert answers.readline() == b"HTTP/1.1 100 Continue\r\n"
            connection.sendall(b"{}")
            assert b"HTTP/1.1 200 OK\r\n" in answers.read()


def test_many_followers_come_and_go(tmp_path: Path) -> None:
    with Running(tmp_path, "good") as running:
        running.ready("good")
        follow = b"GET /logs?follow=true HTTP/1.1\r\nHost: x\r\n\r\n"
        followers = [running.write(follow) for _ in range(10)]
        assert all(follower.recv(12) == b"HTTP/1.1 200" for follower in followers)
        for follower in followers:
            follower.close()
        for _ in range(80):  # more than may be open at a time
            assert running.status()["state"] == "running"


def test_the_status_is_what_its_schema_says(tmp_path: Path) -> None:
    with Running(tmp_path, "good", "refusing") as running:
        running.ready("good")
        running.wait_for("refusing: crashed -> failed")
        status = running.status()
        msgspec.convert(status, Status)
        schema = openapi.document(ROUTES)["components"]["schemas"]["ModuleStatus"]
        for module in status["modules"]:
            assert set(module) == set(schema["properties"])


def test_the_document_has_every_route_and_resolves(tmp_path: Path) -> None:
    with Running(tmp_path, "good", sets=ON_TCP) as running:
        url = tcp(running)
        status, kind, body = fetch(f"{url}/openapi.json")
        assert (status, kind) == (200, "application/json")
    document: dict[str, Any] = json.loads(body)
    described = {
        (method.upper(), path) for path, methods in document["paths"].items() for method in methods
    }
    assert described == {(route.method, route.path) for route in ROUTES}
    references = set(re.findall(r'"#/components/schemas/(\w+)"', body))
    assert references == set(document["components"]["schemas"])
    operations = [each for methods in document["paths"].values() for each in methods.values()]
    assert len({each["operationId"] for each in operations}) == len(operations)
    for each in operations:
        for code in each["responses"]:
            assert code == "default" or int(code) in http.client.responses
