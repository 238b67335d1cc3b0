"""Reports of devices that wait for the API while their node goes to another replica."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from modules.devicecontroller.status import report_queue
from modules.devicecontroller.status.report_queue import Origin, ReportQueue
from tests.support.waiting import eventually


class Writer:
    """A queue whose writes wait until they are let through; notes what is written and ended."""

    def __init__(self) -> None:
        self.queue: ReportQueue[str, str] = ReportQueue(self._write, self._put_aside)
        self.begun: asyncio.Queue[list[str]] = asyncio.Queue()
        self.through = asyncio.Event()
        self.ends_slowly = False
        self.written: list[str] = []
        self.ended: list[str] = []

    async def _write(self, _: str, reports: list[str]) -> None:
        self.begun.put_nowait(reports)
        try:
            await self.through.wait()
        finally:
            if self.ends_slowly:
                await self.through.wait()
        self.written += reports

    def _put_aside(self, device: str, error: Exception) -> None:
        raise AssertionError(device) from error

    def report(self, node: str, report: str) -> None:
        async def confirm() -> None:
            self.ended.append(f"{report} confirmed")

        def drop() -> None:
            self.ended.append(f"{report} dropped")

        self.queue.add("lamp", report, Origin(node, confirm, drop))

    async def until(self, *ended: str) -> None:
        await eventually(lambda: asyncio.sleep(0, self.ended), lambda found: found == list(ended))


@pytest.fixture
async def writer() -> AsyncIterator[Writer]:
    made = Writer()
    running = asyncio.create_task(made.queue.queue.run(2))
    yield made
    running.cancel()


async def test_what_waits_and_what_is_being_written_is_dropped(writer: Writer) -> None:
    writer.report("gone", "first")
    assert await writer.begun.get() == ["first"]
    writer.report("gone", "second")
    writer.report("stays", "third")
    writer.queue.drop("gone")
    assert writer.ended == ["first dropped", "second dropped"]
    assert await writer.begun.get() == ["third"]
    writer.through.set()
    await writer.until("first dropped", "second dropped", "third confirmed")
    assert writer.written == ["third"]


async def test_what_is_dropped_may_be_dropped_again_before_it_has_ended(writer: Writer) -> None:
    """An edge that comes and goes again at once ends its connection twice."""
    writer.ends_slowly = True
    for number in range(3):
        writer.report("gone", str(number))
        if not number:
            await writer.begun.get()
        writer.queue.drop("gone")
        for _ in range(3):
            await asyncio.sleep(0)
    writer.through.set()
    await writer.until("0 dropped", "1 dropped", "2 dropped")


async def test_what_is_written_as_it_is_dropped_ends_once(writer: Writer) -> None:
    writer.report("gone", "first")
    await writer.begun.get()
    writer.through.set()
    writer.queue.drop("gone")
    writer.report("stays", "second")
    await writer.until("first dropped", "second confirmed")


async def test_reports_of_other_nodes_go_on(writer: Writer) -> None:
    writer.report("stays", "first")
    await writer.begun.get()
    writer.queue.drop("gone")
    writer.through.set()
    await writer.until("first confirmed")
    assert writer.begun.empty()


async def test_a_device_that_cannot_be_written_keeps_few_reports(
    writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its edge sends each again and again: they would be all that the module takes."""
    monkeypatch.setattr(report_queue, "_MOST", 3)
    writer.report("n", "0")
    assert await writer.begun.get() == ["0"]
    for number in range(1, 6):
        writer.report("n", str(number))
    assert writer.ended == ["0 dropped", "1 dropped", "2 dropped"]
    writer.through.set()
    await writer.until(*writer.ended, "3 confirmed", "4 confirmed", "5 confirmed")
    assert writer.written == ["0", "3", "4", "5"]
