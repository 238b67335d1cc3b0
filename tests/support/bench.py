"""A controller that runs in this process, between an API and channels that are the test's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ipc import Message
from tests.support.deliveries import Taken


class ControllerBench:
    """A running controller, and what it takes from its channel."""

    def __init__(
        self, task: asyncio.Task[None], inbox: asyncio.Queue[Taken], is_ready: asyncio.Event
    ) -> None:
        self.task = task
        self._inbox = inbox
        self._is_ready = is_ready

    def hear(self, message: Message) -> Taken:
        taken = Taken(message)
        self._inbox.put_nowait(taken)
        return taken

    async def ready(self) -> None:
        ready = asyncio.create_task(self._is_ready.wait())
        await asyncio.wait([ready, self.task], return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        assert not self.task.done(), self.task.exception()

    async def settle_while(self, busy: Callable[[], bool]) -> None:
        """Let the controller do all that it can do at once, and that it is busy with."""
        async with asyncio.timeout(60):
            for _ in range(10):
                await asyncio.sleep(0)
            while not self.task.done() and (busy() or not self._inbox.empty()):
                await asyncio.sleep(0)
        assert not self.task.done(), self.task.exception()
