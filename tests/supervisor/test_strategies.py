"""Start order, strategies and essential modules, with real processes."""

from __future__ import annotations

import asyncio
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from supervisor.fleet.restart_strategies import RestartStrategies
from supervisor.fleet.start_order import StartOrder
from supervisor.unit.states import State
from tests.support.running import Running


def kill(running: Running, module: str) -> None:
    os.kill(running.module(module)["pid"], signal.SIGKILL)


@pytest.mark.parametrize(
    ("strategy", "restarted"),
    [
        ("one_for_one", {"asking"}),
        ("one_for_all", {"good", "asking", "listening"}),
        ("rest_for_one", {"asking", "listening"}),
    ],
)
def test_who_is_restarted_with_a_module_that_dies(
    tmp_path: Path, strategy: str, restarted: set[str]
) -> None:
    names = ("good", "asking", "listening")
    sets = (
        f'modules.asking.supervision.strategy="{strategy}"',
        "modules.listening.supervision.stop_timeout=0.2",  # it hears no signal while it accepts
    )
    with Running(tmp_path, *names, sets=sets) as running:
        running.ready(*names)
        before = {name: running.module(name)["pid"] for name in names}
        kill(running, "asking")
        running.ready(*restarted)
        after = {name: running.module(name) for name in names}
        assert {name for name in names if after[name]["pid"] != before[name]} == restarted
        assert after["asking"]["restarts_by_cause"] == {"crash": 1}
        for name in restarted - {"asking"}:
            assert after[name]["restarts_by_cause"] == {"strategy": 1}
            assert f"backoff (asking crashed: {strategy})" in running.log
            back = running.log.index(f"module {name}: backoff -> starting")
            assert running.log.rindex("asking: starting -> ready") < back
        running.signal(signal.SIGTERM)
        assert running.wait() == 0


def test_an_essential_module_that_fails_ends_everything_with_status_1(tmp_path: Path) -> None:
    sets = ("modules.refusing.supervision.essential=true",)
    with Running(tmp_path, "good", "refusing", sets=sets) as running:
        running.wait_for("module refusing is essential and has failed for good")
        running.wait_for("all modules have stopped")
        assert running.wait() == 1
        kinds = [line.split()[0] for line in running.lines("good")]
        assert kinds.count("start") == kinds.count("cleanup")


def test_any_other_that_fails_leaves_the_rest_running(tmp_path: Path) -> None:
    with Running(tmp_path, "good", "refusing") as running:
        running.ready("good")
        running.wait_for("refusing: crashed -> failed")
        assert running.status()["state"] == "degraded"
        assert running.module("good")["state"] == "ready"


def test_one_that_comes_after_a_failed_one_waits_visibly_and_starts_when_it_can(
    tmp_path: Path,
) -> None:
    sets = (
        'modules.good.supervision.after=["raising"]',
        "modules.raising.supervision.max_restarts=0",
    )
    with Running(tmp_path, "raising", "good", sets=sets) as running:
        running.wait_for("module good waits for raising, which is starting")
        running.wait_for("raising: crashed -> failed")
        module = running.module("good")
        assert module["state"] == "stopped"
        assert module["reason"] == "waits for raising, which is failed"
        assert "waits for raising, which is failed" in running.cli("status").stdout
        (tmp_path / "luck").touch()
        running.post("/modules/raising/start")
        running.ready("good")
        assert running.module("good")["reason"] == ""


def test_each_process_of_a_module_is_supervised_on_its_own(tmp_path: Path) -> None:
    with Running(tmp_path, "several", "good", sets=("modules.several.processes=3",)) as running:
        names = ["several", "several-2", "several-3"]
        running.ready(*names)
        modules = [running.module(name) for name in names]
        assert [module["details"]["name"] for module in modules] == names
        assert [module["details"]["group"] for module in modules] == ["test", "", ""]
        assert len({module["details"]["listen"]["shared"] for module in modules}) == 1
        kill(running, "several-2")
        running.ready("several-2")
        assert running.module("several")["restarts"] == 0
        running.signal(signal.SIGTERM)
        assert running.wait() == 0
        cleanups = [line for line in running.lines("several") if line.startswith("cleanup")]
        assert len(cleanups) == 4


def test_all_processes_of_a_module_have_to_be_ready_before_what_starts_after_it() -> None:
    def unit(name: str, module: str, *after: str) -> Any:
        return SimpleNamespace(
            name=name,
            module=SimpleNamespace(name=module),
            supervision=SimpleNamespace(after=after),
            state=State.READY,
        )

    first, second, other = unit("hub", "hub"), unit("hub-2", "hub"), unit("other", "other")
    later = unit("later", "later", "hub")
    nothing: Any = None
    order = StartOrder(
        {each.name: each for each in (first, second, other, later)}, nothing, nothing, nothing
    )
    assert order.before(later) == [first, second]
    second.state = State.STARTING
    assert order._not_ready_before(later) is second


def test_one_that_comes_after_two_is_tried_when_the_first_is_ready_and_the_other_has_failed(
    tmp_path: Path,
) -> None:
    os.mkfifo(tmp_path / "gate")
    sets = ('modules.good.supervision.after=["late", "refusing"]',)
    with Running(tmp_path, "late", "refusing", "good", sets=sets) as running:
        running.wait_for("refusing: crashed -> failed")
        assert running.module("good")["reason"] == "waits for late, which is starting"
        with ThreadPoolExecutor(1) as pool:
            begun = pool.submit(running.post, "/modules/good/start")
            running.wait_for("module good waits for late")
            (tmp_path / "gate").write_bytes(b"")
            assert begun.result()["reason"] == "waits for refusing, which is failed"
        assert running.status()["state"] == "degraded"


def test_a_reload_ends_a_crash_loop_for_which_another_is_held(tmp_path: Path) -> None:
    config = tmp_path / "cloudcore.toml"
    enabled = """modules.enabled = ["good", "raising"]
[modules.raising.supervision]
after = ["good"]
strategy = "one_for_all"
"""
    config.write_text(enabled + "backoff_initial = 3600.0")
    with Running(tmp_path, "-") as running:
        running.wait_for(r"good: stopping -> backoff \(raising crashed: one_for_all")
        (tmp_path / "luck").touch()
        config.write_text(enabled)
        assert running.post("/reload")["not_ready"] == []
        running.ready("good", "raising")


def test_a_reload_that_turns_the_order_of_two_that_wait_around_ends_nothing(
    tmp_path: Path,
) -> None:
    config = tmp_path / "cloudcore.toml"
    enabled = 'modules.enabled = ["raising", "several", "good"]\n'
    failed = "modules.raising.supervision.max_restarts = 0\n"
    config.write_text(f'{enabled}{failed}modules.good.supervision.after = ["raising"]')
    with Running(tmp_path, "-") as running:
        running.wait_for("raising: crashed -> failed")
        (tmp_path / "luck").touch()
        turned = 'modules.raising.supervision.after = ["good"]\n'
        between = "modules.several.supervision.max_restarts = 7"
        config.write_text(enabled + failed + turned + between)
        assert running.post("/reload")["not_ready"] == []
        running.ready("several", "good", "raising")
        running.signal(signal.SIGTERM)
        assert running.wait() == 0


async def test_one_that_is_asked_to_stop_is_not_restarted_for_the_crash_of_another() -> None:
    restarted = []

    def unit(name: str, state: State) -> Any:
        async def restart(_: object) -> None:
            restarted.append(name)

        rules = SimpleNamespace(strategy="one_for_all")
        return SimpleNamespace(
            name=name, state=state, first_started=0.0, supervision=rules, restart=restart
        )

    died, other = unit("died", State.CRASHED), unit("other", State.READY)
    nothing: Any = None
    strategies = RestartStrategies({"died": died, "other": other}, nothing, nothing)
    strategies.apply(died)
    other.state = State.STOPPING
    await asyncio.gather(*strategies._restarts)
    assert restarted == []
