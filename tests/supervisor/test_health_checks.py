"""When a process counts as hung or as over a limit, with a clock that the test moves."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Iterable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from supervisor.unit import health
from supervisor.unit.health import Ailment, Health
from supervisor.unit.restart_policy import Supervision


class Clock:
    """Time that passes only while somebody sleeps: as long as was asked, and what a step adds."""

    def __init__(self, steps: Iterable[float]) -> None:
        self.now = 100.0
        self.is_over = asyncio.Event()
        self._steps = iter(steps)

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        late = next(self._steps, None)
        if late is None:
            self.is_over.set()
            await asyncio.get_running_loop().create_future()
        self.now += seconds + (late or 0.0)


async def found(
    monkeypatch: pytest.MonkeyPatch, clock: Clock, process: Any, **rules: Any
) -> Ailment | None:
    """Check a process until the clock's steps are over."""
    nothing: Any = None
    monkeypatch.setattr(health.time, "monotonic", clock.monotonic)
    monkeypatch.setattr(health.asyncio, "sleep", clock.sleep)
    watch = Health(process, nothing, Supervision(**rules))
    ailment = asyncio.create_task(watch.ailment())
    over = asyncio.create_task(clock.is_over.wait())
    await asyncio.wait([ailment, over], return_when=asyncio.FIRST_COMPLETED)
    monkeypatch.undo()
    ended = ailment.done()
    for task in (ailment, over):
        task.cancel()
    return ailment.result() if ended else None


def alive_until(clock: Clock, last: float) -> Any:
    """Return a process whose event loop gives signs of life until a time."""

    class State:
        cleaning = False

        @property
        def alive_at(self) -> float:
            return min(clock.now, last)

    return SimpleNamespace(beats=True, started=0.0, suspended=False, shared_state=State())


async def test_a_loop_that_gives_no_sign_of_life_is_hung(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock([0.0] * 100)
    ailment = await found(monkeypatch, clock, alive_until(clock, 105.0), watchdog=1.0)
    assert ailment
    assert ailment.hung
    assert ailment.reason == "hung: no sign of life for 1.2 s"


async def test_a_supervisor_that_did_not_run_itself_blames_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As when both were suspended: at the next check the module gives signs of life again."""

    def steps() -> Iterator[float]:
        yield 0.0
        process.shared_state = SimpleNamespace(cleaning=False, alive_at=clock.now)
        yield 2.0
        process.shared_state.alive_at = clock.now
        yield 0.0

    clock = Clock(steps())
    process = alive_until(clock, 1000.0)
    assert await found(monkeypatch, clock, process, watchdog=1.0) is None
    assert clock.now == 102.75


def of_memory(sizes: Iterable[int]) -> Any:
    """Return a process that takes so many bytes at one check after the other."""
    each = iter(sizes)
    usage = SimpleNamespace(memory_info=lambda: SimpleNamespace(rss=next(each)))
    return SimpleNamespace(usage_of=usage)


@pytest.mark.parametrize(
    ("over", "is_told"),
    [
        ([False, True, True, True, True, True], True),
        ([True, True, True, True, False, True, True, True, True], False),
        ([True, False] * 10, False),
    ],
)
async def test_only_what_is_over_a_limit_all_the_time_is(
    monkeypatch: pytest.MonkeyPatch, over: list[bool], is_told: bool
) -> None:
    process = of_memory(200 if each else 50 for each in over)
    clock = Clock([0.0] * len(over))
    rules = {"watchdog": 0.0, "max_rss": 100, "limit_grace": 1.0}
    ailment = await found(monkeypatch, clock, process, **rules)
    assert (ailment is not None) is is_told
    if ailment:
        assert not ailment.hung
        assert ailment.reason == "resident memory 200 bytes, over max_rss = 100 for 1.0 s"


async def test_a_supervisor_without_a_free_descriptor_blames_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse() -> Any:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    process = SimpleNamespace(usage_of=SimpleNamespace(memory_info=refuse))
    assert await found(monkeypatch, Clock([0.0] * 3), process, watchdog=0, max_rss=1) is None
