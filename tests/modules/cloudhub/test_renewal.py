"""When cloudhub checks whether its certificate is about to expire."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from ipc import background
from modules.cloudhub import main
from modules.common.clock_jumps import ClockJumps
from modules.common.pki import renewal


class Clocks(SimpleNamespace):
    """Both clocks; each reading of the monotonic one advances it by a second."""

    wall = 1e9
    seconds = 0.0

    def time(self) -> float:
        return self.wall + self.seconds

    def monotonic(self) -> float:
        self.seconds += 1.0
        return self.seconds


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Clocks:
    made = Clocks()
    monkeypatch.setattr(renewal, "time", made)
    monkeypatch.setattr(renewal, "ClockJumps", lambda: ClockJumps(made.time, made.monotonic))
    monkeypatch.setattr(renewal, "_GLANCE", 0.0)
    return made


@pytest.mark.parametrize("jump", [94_608_050.0, -94_608_050.0])
async def test_a_clock_that_is_set_makes_it_look_at_once(
    clocks: Clocks, jump: float, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    waiting = asyncio.create_task(renewal.due())
    for _ in range(10):
        await asyncio.sleep(0)
    assert not waiting.done()
    clocks.wall += jump
    async with asyncio.timeout(20):
        await waiting
    assert clocks.seconds < renewal._RENEWAL
    assert f"the clock was set by {jump:+.0f}"[:-2] in caplog.text


async def test_a_clock_that_is_steered_does_not(clocks: Clocks) -> None:
    waiting = asyncio.create_task(renewal.due())
    await asyncio.sleep(0)
    clocks.wall += 10.0
    async with asyncio.timeout(20):
        await waiting
    assert clocks.seconds >= renewal._RENEWAL


async def test_another_address_of_the_host_makes_it_look(
    clocks: Clocks, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    names = ["10.0.0.5"]
    monkeypatch.setattr(renewal, "own_names", lambda: list(names))
    waiting = asyncio.create_task(renewal.due())
    for _ in range(200):
        await asyncio.sleep(0)
    assert not waiting.done()
    names[0] = "10.0.0.6"
    async with asyncio.timeout(20):
        await waiting
    assert clocks.seconds < renewal._RENEWAL
    assert "other names or addresses" in caplog.text


async def test_a_host_that_does_not_say_its_addresses_ends_no_look(
    clocks: Clocks, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As when no descriptor is left: the certificate would not be renewed any more."""

    def own_names() -> list[str]:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(renewal, "own_names", own_names)
    async with asyncio.timeout(20):
        await renewal.due()
    assert clocks.seconds >= renewal._RENEWAL
    assert caplog.text.count("cannot look at this host's addresses") == 1


async def test_a_look_that_fails_in_an_unforeseen_way_is_not_the_last(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    looked, failures = asyncio.Event(), iter([ValueError("a file that is no certificate")])

    async def due() -> None:
        await asyncio.sleep(0)

    def tls_files(*_: object) -> None:
        for failure in failures:
            raise failure
        loop.call_soon_threadsafe(looked.set)

    loop = asyncio.get_running_loop()
    nothing: Any = None
    monkeypatch.setattr(background, "AGAIN", 0.0)
    monkeypatch.setattr(renewal, "due", due)
    monkeypatch.setattr(main, "tls_files", tls_files)
    async with main._renewing(nothing, nothing), asyncio.timeout(20):
        await looked.wait()
    assert "the renewal of certificates failed" in caplog.text
    assert "ValueError: a file that is no certificate" in caplog.text
