"""An edge that sends more than can be handled leaves room for the others."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from modules.edgecontroller.upstream import shares
from modules.edgecontroller.upstream.shares import Shares
from tests.modules.edgecontroller.test_dispatch import ANNOTATIONS, Bench, Taken, settle

pytestmark = pytest.mark.timeout(10)


async def test_a_flood_of_one_edge_leaves_room_for_others(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The API server takes its time with each, so that they would fill the module."""
    bench = Bench(tmp_path, max_pending=shares._LEAST + 10)
    inbox: asyncio.Queue[Taken] = asyncio.Queue()
    flood = [Taken("node/bad/default/node/bad", ANNOTATIONS) for _ in range(10 * shares._LEAST)]
    for taken in flood:
        inbox.put_nowait(taken)
    inbox.put_nowait(Taken("node/good/default/node/good", ANNOTATIONS))
    running = asyncio.create_task(bench.upstream.run(inbox.get))
    while not inbox.empty():
        await asyncio.sleep(0)
    await settle()
    assert sorted(bench.api.patched) == ["bad", "good"]
    assert sum(taken.is_done for taken in flood) == bench.upstream.dropped == 9 * shares._LEAST
    assert caplog.text.count("node bad: sends more than can be handled") == 1
    bench.api.open.set()
    while bench.upstream.pending:
        await asyncio.sleep(0)
    assert len(bench.upstream._shares) == 0
    running.cancel()
    await asyncio.wait([running])
    bench.state.record.close()


def test_bytes_of_one_edge_are_limited() -> None:
    found = Shares(1000)
    assert found.has_room("a", 2 * shares._BYTES)  # one message may have more
    found.begin("a", shares._BYTES - 1)
    assert found.has_room("a", 1)
    assert not found.has_room("a", 2)
    assert found.has_room("b", shares._BYTES)
    found.end("a", shares._BYTES - 1)
    assert found.has_room("a", shares._BYTES)
    assert len(found) == 0
