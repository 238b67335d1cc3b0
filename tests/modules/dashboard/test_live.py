"""The stream of what is live: one poll for all, in turn for each page, and bounded."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncGenerator
from contextlib import ExitStack, closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ipc import background
from modules.dashboard.live import viewers as viewers_module
from modules.dashboard.live.cpu import CpuRates
from modules.dashboard.live.logs import LogTails
from modules.dashboard.live.viewers import TooManyViewers, Viewers, event
from tests.modules.dashboard.cloudcore import begin
from tests.modules.dashboard.visitor import Browser, expect
from tests.support.running import Running


def module_of(status: dict[str, Any], name: str) -> dict[str, Any]:
    return next((each for each in status["modules"] if each["name"] == name), {"state": "unknown"})


async def test_the_modules_as_they_are(cloudcore: Running, operator: Browser) -> None:
    async with operator.live("status") as events:
        # The dashboard's own poll may be older than the state that the test has seen.
        status = await expect(
            events, "status", lambda status: module_of(status, "good")["state"] == "ready"
        )
    good = module_of(status, "good")
    assert good["pid"] == cloudcore.module("good")["pid"]
    assert (good["state"], good["enabled"], good["restarts"]) == ("ready", True, 0)
    assert good["rss_bytes"] > 1 << 20
    assert status["state"] == "running"
    assert "data_dir" not in status


async def test_a_module_that_is_killed_while_one_looks(tmp_path: Path) -> None:
    with begin(tmp_path, "good") as running:
        browser = Browser(running)
        async with browser.http:
            await browser.log_in()
            async with browser.live("status,changes") as events:
                await expect(events, "status", lambda status: len(status["modules"]) > 1)
                os.kill(running.module("good")["pid"], signal.SIGKILL)
                changes = await expect(
                    events,
                    "changes",
                    lambda news: any(each["new"] == "crashed" for each in news["changes"]),
                )
                crash = next(each for each in changes["changes"] if each["new"] == "crashed")
                assert (crash["kind"], crash["name"]) == ("module", "good")
                assert "SIGKILL" in crash["reason"]
                status = await expect(
                    events,
                    "status",
                    lambda status: (
                        status["state"] == "running" and status["modules"][1]["restarts"]
                    ),
                )
                assert status["modules"][1]["last_exit"]["report"]
                assert "traceback" not in status["modules"][1]["last_exit"]


async def test_a_topic_that_does_not_exist(operator: Browser) -> None:
    status, answer = await operator.get("/api/live?topics=status,nothing")
    assert status == 400
    assert "'nothing'" in answer["error"]
    assert (await operator.get(f"/api/live?topics={'status,' * 7}"))[0] == 400


async def test_the_output_of_a_module(cloudcore: Running, operator: Browser) -> None:
    async with operator.live("logs:supervisor") as events:
        found = await expect(events, "logs:supervisor", lambda news: len(news["lines"]) > 1)
    assert any("module good: starting -> ready" in line for line in found["lines"])
    async with operator.live("logs:nothing") as events:
        found = await expect(events, "logs:nothing", lambda news: news["lines"])
    (line,) = found["lines"]
    assert "no module 'nothing' is running" in line


async def test_a_slow_page_is_dropped_and_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(viewers_module, "_WAITING", 1000)
    viewers = Viewers()
    with viewers.open(["a"], trusted=True) as slow, viewers.open(["a"], trusted=True) as other:
        for number in range(3):
            viewers.publish("a", {"text": "x" * 400, "number": number})
            assert await other.take(1)
        assert slow.too_slow
        assert await slow.take(0) == b""
        assert not other.too_slow
    assert len(viewers) == 0


async def test_a_page_gets_its_topics_in_order_and_waits_for_more() -> None:
    viewers = Viewers()
    with viewers.open(["a"], trusted=True) as viewer:
        viewers.publish("b", 1)
        viewers.publish("a", 1)
        viewers.publish("a", 2)
        assert await viewer.take(0) == event("a", 1) + event("a", 2)
        assert await viewer.take(0.01) == b""
        waiting = asyncio.create_task(viewer.take(5))
        await asyncio.sleep(0)
        viewers.publish("a", 3)
        assert await waiting == event("a", 3)


def test_there_are_not_more_pages_than_may_be() -> None:
    viewers = Viewers()
    open_ones = [viewers.open(["a"], trusted=True) for _ in range(32)]
    for each in open_ones:
        each.__enter__()
    with pytest.raises(TooManyViewers), viewers.open(["a"], trusted=True):
        pass


def test_visitors_without_a_login_leave_room_for_those_who_have_logged_in() -> None:
    viewers = Viewers()
    with ExitStack() as pages:

        def open_page(*, trusted: bool) -> None:
            pages.enter_context(viewers.open(["a"], trusted=trusted))

        for _ in range(16):
            open_page(trusted=False)
        with pytest.raises(TooManyViewers, match="16 pages are open without a login"):
            open_page(trusted=False)
        for _ in range(16):
            open_page(trusted=True)
        with pytest.raises(TooManyViewers, match="32 pages"):
            open_page(trusted=True)
    with viewers.open(["a"], trusted=False):
        assert len(viewers) == 1


def test_a_text_cannot_begin_another_event() -> None:
    hostile = "x\n\nevent: status\r\ndata: {}\u2028"
    piece = event("changes", {"name": hostile})
    assert piece.count(b"\n") == 3
    assert piece.endswith(b"\n\n")
    assert b"\r" not in piece


def test_the_use_of_cpu_is_that_of_the_last_seconds_whoever_else_asks() -> None:
    rates = CpuRates()

    def module(uptime: float, used: float, pid: int | None = 1) -> dict[str, object]:
        return {"name": "m", "pid": pid, "uptime_seconds": uptime, "cpu_seconds": used}

    assert rates.add([module(100, 5)]) == {"m": 0.0}
    assert rates.add([module(102, 6)]) == {"m": 50.0}
    assert rates.add([module(104, 6)]) == {"m": 25.0}
    for second in range(106, 120, 2):
        last = rates.add([module(second, 6)])
    assert last == {"m": 0.0}
    assert rates.add([module(1, 0.5, pid=2)]) == {"m": 0.0}  # another process
    assert rates.add([module(1, 0.5, pid=None)]) == {}


async def test_a_log_whose_reading_fails_in_an_unforeseen_way_is_read_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    failures = iter([ValueError("chunk too big")])

    async def lines(*_: object, **__: object) -> AsyncGenerator[bytes]:
        for failure in failures:
            raise failure
        yield b"a line\n"
        await asyncio.Event().wait()

    monkeypatch.setattr(background, "AGAIN", 0.0)
    admin: Any = SimpleNamespace(lines=lines)
    viewers = Viewers()
    with closing(LogTails(admin, viewers)), viewers.open({"logs:good"}, trusted=True) as viewer:
        assert b"a line" in await viewer.take(20)
    assert "the tail of good failed" in caplog.text


async def test_the_log_of_a_module_that_is_enabled_while_one_looks(tmp_path: Path) -> None:
    with begin(tmp_path, "good") as running:
        browser = Browser(running)
        async with browser.http:
            await browser.log_in()
            async with browser.live("logs:chatty") as events:
                found = await expect(events, "logs:chatty", lambda news: news["lines"])
                assert "module chatty is disabled" in found["lines"][-1]
                await asyncio.to_thread(running.cli, "enable", "chatty")
                found = await expect(
                    events, "logs:chatty", lambda news: any("xxx" in line for line in news["lines"])
                )
                assert not any("is disabled" in line for line in found["lines"])
