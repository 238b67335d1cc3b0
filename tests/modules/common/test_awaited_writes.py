"""Who waits for the writes of rows, and for which of them nobody does."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from modules.common.kube import ApiError, KubeError, TooManyRequests, Unreachable
from modules.common.sync.awaited_writes import AwaitedWrites

REFUSED = ApiError(500, "InternalError", "failed calling webhook")


def fails(error: KubeError) -> Callable[[], Awaitable[bool]]:
    async def write() -> bool:
        raise error

    return write


async def works() -> bool:
    return True


async def is_not_ours() -> bool:
    return False


async def test_who_begins_to_wait_during_a_write_waits_for_the_next_one() -> None:
    writes, began, goes_on = AwaitedWrites[str](), asyncio.Event(), asyncio.Event()

    async def slow() -> bool:
        began.set()
        await goes_on.wait()
        return True

    first = writes.next("a")
    writing = asyncio.create_task(writes.write("a", slow))
    await began.wait()
    second = writes.next("a")
    goes_on.set()
    await writing
    assert first.result()
    assert not second.done()
    await writes.write("a", is_not_ours)
    assert not second.result()


@pytest.mark.parametrize("error", [Unreachable("away"), TooManyRequests(429, "", "slower")])
async def test_a_failure_that_may_be_one_of_all_writes_is_waited_out(error: KubeError) -> None:
    writes = AwaitedWrites[str]()
    waiting = writes.next("a")
    for _ in range(10):
        with pytest.raises(KubeError):
            await writes.write("a", fails(error))
    assert not waiting.done()
    assert not writes.is_failing("a")
    await writes.write("a", works)
    assert waiting.result()


async def test_nobody_waits_for_a_row_that_fails_alone_until_it_can_be_written() -> None:
    writes = AwaitedWrites[str]()
    waiting = writes.next("a")
    while not writes.is_failing("a"):
        assert not waiting.done()
        with pytest.raises(ApiError):
            await writes.write("a", fails(REFUSED))
    assert not waiting.result()
    assert not writes.is_failing("b")
    await writes.write("a", works)
    assert not writes.is_failing("a")


async def test_who_has_waited_before_a_failure_and_since_is_told_of_the_next_write() -> None:
    writes = AwaitedWrites[str]()
    before, waiting = writes.next("a"), list[asyncio.Future[bool]]()

    async def write() -> bool:
        waiting.append(writes.next("a"))
        raise REFUSED

    with pytest.raises(ApiError):
        await writes.write("a", write)
    await writes.write("a", works)
    assert await asyncio.gather(before, *waiting) == [True, True]
