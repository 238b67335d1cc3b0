"""What ends a background task is seen, and the task goes on."""

from __future__ import annotations

import asyncio
import itertools
from types import SimpleNamespace
from typing import Any

import pytest

from ipc import background
from supervisor import run_directory
from supervisor.fleet import trouble_watch
from supervisor.fleet.restart_strategies import RestartStrategies
from supervisor.fleet.start_order import StartOrder
from supervisor.telemetry.state_changes import StateChangeLog
from supervisor.unit.states import State


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "AGAIN", 0.0)


class Work:
    """Fails as told, one after the other, and then waits to be cancelled."""

    def __init__(self, *failures: Exception) -> None:
        self._failures = iter(failures)
        self.goes_on = asyncio.Event()

    async def __call__(self) -> None:
        for failure in self._failures:
            raise failure
        self.goes_on.set()
        await asyncio.Event().wait()


async def test_work_that_fails_goes_on_and_its_stack_is_logged_once_for_a_reason(
    caplog: pytest.LogCaptureFixture,
) -> None:
    work = Work(ValueError("a"), ValueError("a"), ValueError("b"), KeyError("b"))
    async with background.kept_running("the watch", work), asyncio.timeout(20):
        await work.goes_on.wait()
    logged = [record for record in caplog.records if "the watch failed" in record.getMessage()]
    assert [str(record.exc_info[1]) for record in logged if record.exc_info] == ["a", "b", "'b'"]


async def test_work_that_returns_is_over() -> None:
    runs: list[int] = []

    async def work() -> None:
        runs.append(1)

    await background.keep_running("the work", work)
    assert runs == [1]


async def test_the_watch_over_modules_survives_a_look_that_fails(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    looked = asyncio.Event()
    numbers = itertools.count()

    def look(_: object, now: float) -> None:
        if next(numbers) == 0:
            raise RuntimeError("a unit of its own kind")
        looked.set()

    monkeypatch.setattr(trouble_watch, "INTERVAL", 0.0)
    monkeypatch.setattr(trouble_watch.TroubleWatch, "look", look)
    async with trouble_watch.watched({}), asyncio.timeout(20):
        await looked.wait()
    assert "the watch over modules failed" in caplog.text
    assert "RuntimeError: a unit of its own kind" in caplog.text


async def test_the_watch_over_the_run_directory_survives_a_look_that_fails(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    looked, numbers = asyncio.Event(), itertools.count()

    def restore() -> None:
        if next(numbers) == 0:
            raise ValueError("no OSError")
        looked.set()

    async def intact() -> bool:
        return False

    directory: Any = SimpleNamespace(restore=restore)
    fleet: Any = SimpleNamespace(units={})
    admin: Any = SimpleNamespace(restore=intact)
    monkeypatch.setattr(run_directory, "CHECK_INTERVAL", 0.0)
    async with run_directory.kept(directory, fleet, admin), asyncio.timeout(20):
        await looked.wait()
    assert "the watch over the run directory failed" in caplog.text
    assert "ValueError: no OSError" in caplog.text


@pytest.fixture
def units() -> dict[str, Any]:
    def fail(*_: object) -> None:
        raise RuntimeError("a transition that nobody thought of")

    async def restart(*_: object) -> None:
        fail()

    def unit(name: str, *after: str) -> Any:
        return SimpleNamespace(
            name=name,
            module=SimpleNamespace(name=name),
            supervision=SimpleNamespace(after=after, strategy="one_for_all"),
            state=State.STARTING,
            first_started=0.0,
            reason="",
            waits_for=None,
            settled=True,
            start=fail,
            restart=restart,
        )

    return {"first": unit("first"), "later": unit("later", "first")}


async def test_a_start_in_turn_that_fails_ends_cloudcore_in_order(
    units: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    given_up, changes = asyncio.Event(), StateChangeLog()
    StartOrder(units, changes, lambda: None, given_up.set).start(units["later"])
    await asyncio.sleep(0)
    units["first"].state = State.READY
    changes.add("first", "starting", "ready", "", None)
    async with asyncio.timeout(20):
        await given_up.wait()
    assert "a bug in the supervisor: start later ended" in caplog.text
    assert "RuntimeError: a transition that nobody thought of" in caplog.text


async def test_a_restart_of_a_strategy_that_fails_ends_cloudcore_in_order(
    units: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    given_up = asyncio.Event()
    RestartStrategies(units, StateChangeLog(), given_up.set).apply(units["first"])
    async with asyncio.timeout(20):
        await given_up.wait()
    assert "a bug in the supervisor: restart later ended" in caplog.text
