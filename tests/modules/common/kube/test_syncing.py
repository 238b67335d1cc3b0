"""Work at the start of a module that may take longer than a module has to become ready."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from modules.common.kube import ready_meanwhile, syncing
from tests.support.waiting import until


class Context:
    """Notes whether the module has become ready."""

    def __init__(self) -> None:
        self.is_ready = False

    def ready(self) -> None:
        self.is_ready = True


async def begin(context: Any, work: Any) -> None:
    await ready_meanwhile(work, context, "labelling")


async def test_a_module_is_ready_while_its_first_work_takes_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(syncing, "PATIENCE", 0.01)
    context, finish = Context(), asyncio.Event()
    beginning = asyncio.create_task(begin(context, finish.wait()))
    await until(lambda: context.is_ready)
    assert not beginning.done()
    finish.set()
    await beginning


async def test_work_that_is_soon_done_says_nothing_and_one_that_fails_is_heard() -> None:
    context = Context()
    await begin(context, asyncio.sleep(0))
    assert not context.is_ready

    async def fail() -> None:
        raise LookupError("broken")

    with pytest.raises(LookupError, match="broken"):
        await begin(context, fail())
