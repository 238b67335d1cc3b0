"""The work of a module until it is asked to stop."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from supervisor.api import ModuleContext


async def until_stopped(work: Coroutine[Any, Any, None], context: ModuleContext) -> None:
    """Run the work until the module is asked to stop, and cancel it; raises what it raises."""
    working = asyncio.create_task(work)
    stop = asyncio.create_task(context.stopped())
    try:
        await asyncio.wait((working, stop), return_when=asyncio.FIRST_COMPLETED)
    finally:
        stop.cancel()
        working.cancel()
        await asyncio.wait((working, stop))
    if not working.cancelled():
        working.result()
