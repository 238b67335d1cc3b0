"""The socket of a CloudHub with as many edges as a test wants."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aiohttp import web


class Fleet:
    """The rows of `cloudcore nodes`, which a test changes as it likes."""

    def __init__(self, count: int) -> None:
        self.rows = {name: row(name) for name in (f"edge-{number:04}" for number in range(count))}
        self.asked = 0

    async def answer(self, _: web.Request) -> web.Response:
        self.asked += 1
        return web.json_response(list(self.rows.values()))


def row(name: str, **fields: Any) -> dict[str, Any]:
    return {
        "node": name,
        "since": time.time() - 60,
        "address": "10.1.2.3:4567",
        "certificate": {"common_name": name, "expires": time.time() + 1e7},
        "protocol": "json",
        "messages_in": 1,
        "messages_out": 1,
        "queue_messages": 0,
        "queue_bytes": 0,
        "keepalive": time.time(),
        "process": "cloudhub",
    } | fields


@contextmanager
def serving(fleet: Fleet, socket: Path) -> Iterator[None]:
    """Serve the rows on a Unix socket, from a thread: the browser's driver blocks this one."""
    loop = asyncio.new_event_loop()
    app = web.Application()
    app.router.add_get("/nodes", fleet.answer)
    runner = web.AppRunner(app)

    async def begin() -> None:
        await runner.setup()
        await web.UnixSite(runner, str(socket)).start()

    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(begin(), loop).result(10)
        yield
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
        socket.unlink(missing_ok=True)
