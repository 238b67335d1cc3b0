"""Who gets in: one-time links, the admin token, sessions."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest

from modules.dashboard.access import links as links_module
from modules.dashboard.access import sessions as sessions_module
from modules.dashboard.access.attempts import Attempts
from modules.dashboard.access.links import LIFETIME, LoginLinks, digest
from modules.dashboard.access.sessions import Sessions
from tests.modules.dashboard.cloudcore import TOKEN, begin
from tests.modules.dashboard.visitor import Browser, expect
from tests.support.running import Running


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


async def test_the_command_prints_a_link_that_logs_in_once(
    cloudcore: Running, visitor: Browser
) -> None:
    done = cloudcore.cli("status")  # the modules of the testbed need no data directory
    assert done.returncode == 0
    link = command(cloudcore).removesuffix("\n")
    address, _, code = link.partition("/login#")
    assert address == visitor.origin
    assert (await visitor.get("/api/session"))[0] == 401
    assert (await visitor.post("/api/login", {"code": code}))[0] == 200
    assert (await visitor.get("/api/session"))[1]["trusted"]
    second = Browser(cloudcore)
    async with second.http:
        status, answer = await second.post("/api/login", {"code": code})
    assert status == 403
    assert "the link was used already" in answer["error"]


def command(running: Running, *arguments: str) -> str:
    from click.testing import CliRunner

    from modules.dashboard.cli import dashboard

    options = ("--run-dir", str(running.base / "run"), *arguments)
    done = CliRunner().invoke(dashboard, options)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_the_command_as_json(cloudcore: Running) -> None:
    document = json.loads(command(cloudcore, "-o", "json"))
    assert document["link"].startswith("http://127.0.0.1:")
    assert document["expires_seconds"] == LIFETIME


def test_a_link_is_good_for_ten_minutes_and_old_ones_leave_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(links_module, "since_boot", clock)
    links = LoginLinks(tmp_path)
    old = links.create()
    clock.now += LIFETIME - 1
    good = links.create()
    clock.now += 1
    assert not links.use(old)
    assert links.use(good)
    assert not links.use(good)
    made = links.create()
    links.create()
    clock.now += LIFETIME
    links.create()
    directory = tmp_path / "dashboard" / "links"
    assert len(list(directory.iterdir())) == 1
    (directory / digest(made)).write_bytes(b"")  # as an earlier cloudcore made it
    assert not links.use(made)


def test_a_code_names_no_other_file(tmp_path: Path) -> None:
    other = tmp_path / "dashboard" / "other"
    other.parent.mkdir()
    other.write_text("")
    assert not LoginLinks(tmp_path).use("../other")
    assert other.exists()


def test_what_is_stored_lets_nobody_in(tmp_path: Path) -> None:
    code = LoginLinks(tmp_path).create()
    cookie = Sessions(tmp_path, 1).begin()
    stored = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(stored) == 2
    for path in stored:
        assert path.stat().st_mode & 0o077 == 0
        assert code not in path.name
        assert cookie not in path.read_text()


async def test_the_cookie_is_for_this_page_alone(cloudcore: Running, visitor: Browser) -> None:
    code = LoginLinks(cloudcore.base / "run").create()
    headers = {"Origin": visitor.origin}
    async with visitor.http.post("/api/login", json={"code": code}, headers=headers) as answer:
        cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert "Path=/" in cookie
    assert "Max-Age=43200" in cookie
    assert "Secure" not in cookie  # the page is HTTP


async def test_the_admin_token_logs_in_and_serves_programs(visitor: Browser) -> None:
    assert (await visitor.post("/api/login", {"token": "wrong"}))[0] == 403
    assert (await visitor.get("/api/crashes"))[0] == 401
    assert (await visitor.get("/api/crashes", Authorization=f"Bearer {TOKEN}"))[0] == 200
    assert (await visitor.get("/api/crashes", Authorization="Bearer "))[0] == 401
    assert (await visitor.post("/api/login", {"token": TOKEN}))[0] == 200
    assert (await visitor.get("/api/crashes"))[0] == 200


async def test_an_empty_proof_is_none(visitor: Browser) -> None:
    assert (await visitor.post("/api/login", {}))[0] == 403
    assert (await visitor.post("/api/login", {"code": ["x"]}))[0] == 400
    assert (await visitor.post("/api/login", {"else": "x"}))[0] == 400


async def test_logging_out_ends_the_session_and_its_stream(operator: Browser) -> None:
    from modules.dashboard.web import stream

    cookies = {each.key: each.value for each in operator.http.cookie_jar}
    async with operator.live("status") as events:
        await expect(events, "status")
        assert (await operator.post("/api/logout"))[0] == 200
        async for _ in events:  # until it ends
            pass
    assert stream._HEARTBEAT > 0
    operator.http.cookie_jar.update_cookies(cookies)  # as if somebody had kept it
    assert (await operator.get("/api/session"))[0] == 401


def test_a_session_ends_with_its_time_and_the_oldest_one_with_too_many(tmp_path: Path) -> None:
    clock = Clock()
    sessions = Sessions(tmp_path, 1, clock)
    first = sessions.begin()
    assert sessions.has(first)
    for _ in range(64):
        last = sessions.begin()
    assert not sessions.has(first)
    clock.now += 3599
    assert sessions.has(last)
    assert Sessions(tmp_path, 1, clock).has(last)
    clock.now += 1
    assert not sessions.has(last)
    assert not Sessions(tmp_path, 1, clock).has(last)
    assert not sessions.has("")


async def test_a_login_survives_a_crash_of_the_dashboard(tmp_path: Path) -> None:
    with begin(tmp_path) as running:
        browser = Browser(running)
        async with browser.http:
            await browser.log_in()
            os.kill(running.module("dashboard")["pid"], signal.SIGKILL)
            running.wait_for("module dashboard: starting -> ready")
            assert (await browser.get("/api/session"))[1]["trusted"]


def test_nobody_guesses() -> None:
    now = 0.0
    attempts = Attempts(lambda: now)
    for _ in range(10):
        assert not attempts.exhausted
        attempts.failed()
    assert attempts.exhausted
    now = 60.0
    assert not attempts.exhausted


async def test_after_ten_failures_even_the_right_token_waits(tmp_path: Path) -> None:
    with begin(tmp_path) as running:
        browser = Browser(running)
        async with browser.http:
            for _ in range(10):
                assert (await browser.post("/api/login", {"token": "wrong"}))[0] == 403
            status, answer = await browser.post("/api/login", {"token": TOKEN})
    assert status == 429
    assert "try again" in answer["error"]
    assert "wrong" not in running.log
    assert TOKEN not in running.log


@pytest.mark.parametrize("days", [2, -2])
def test_a_clock_that_is_set_ends_no_session_and_no_link(
    days: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions, links = Sessions(tmp_path, 1), LoginLinks(tmp_path)
    cookie, code, now = sessions.begin(), links.create(), time.time()
    monkeypatch.setattr(time, "time", lambda: now + days * 86_400)
    assert sessions.has(cookie)
    assert Sessions(tmp_path, 1).has(cookie)
    links.create()  # drops those that are old
    assert links.use(code)


def test_no_session_and_no_link_outlives_a_boot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cookie, code = Sessions(tmp_path, 1).begin(), LoginLinks(tmp_path).create()
    monkeypatch.setattr(sessions_module, "boot_id", lambda: "another")
    monkeypatch.setattr(links_module, "boot_id", lambda: "another")
    assert not Sessions(tmp_path, 1).has(cookie)
    assert not LoginLinks(tmp_path).use(code)
