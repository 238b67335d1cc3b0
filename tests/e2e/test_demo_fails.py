"""A demo that does not see everything says which step failed and what the log said last."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from modules.hollow.demo import __main__ as demo
from modules.hollow.demo import walk
from modules.hollow.demo.harness import Cloudcore, CloudcoreError, running


async def test_a_cloudcore_that_cannot_start_is_told_with_its_log() -> None:
    async with running("--set", "modules.cloudhub.port=none") as cloudcore:
        with pytest.raises(CloudcoreError, match=r"ended with status 2\n(.|\n)*port"):
            await cloudcore.wait_ready(30)


async def test_a_step_that_is_not_seen_makes_the_demo_fail(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    @asynccontextmanager
    async def blind(cloudcore: Cloudcore, seen: walk.Step) -> AsyncIterator[None]:
        await cloudcore.wait_ready(30)
        seen("cloudcore is running")
        raise TimeoutError("edge-1 waited 15 s for default/pod/web as wanted")
        yield

    monkeypatch.setattr(demo, "walking", blind)
    assert await demo.demo() == 1
    out = capsys.readouterr().out
    assert "✓" in out
    assert "✗" in out
    assert "edge-1 waited 15 s for default/pod/web" in out
    assert "all 4 modules are ready" in out  # the end of the log
    assert "everything was seen" not in out


async def test_the_demo_ends_when_its_time_is_up(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    @asynccontextmanager
    async def stuck(_cloudcore: Cloudcore, _seen: walk.Step) -> AsyncIterator[None]:
        await asyncio.Event().wait()
        yield

    monkeypatch.setattr(demo, "walking", stuck)
    monkeypatch.setattr(demo, "LIMIT", 1.0)
    assert await demo.demo() == 1
    assert "not done within 1 s" in capsys.readouterr().out
