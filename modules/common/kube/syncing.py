"""Waiting for the caches of a module to be synced with the Kubernetes API."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from modules.common.kube.errors import Unreachable
from modules.common.kube.health import ApiHealth
from modules.common.kube.reflector import Reflector
from supervisor.api import ModuleContext

#: Seconds after which a module that still waits for the API reports that and is ready: a restart
#: of the module would not make the API available.
PATIENCE: Final = 15.0

log = logging.getLogger(__name__)


async def synced(
    reflectors: Sequence[Reflector] | Callable[[], Sequence[Reflector]],
    health: ApiHealth,
    context: ModuleContext,
    first: Awaitable[None] | None = None,
) -> None:
    """Wait until the first list of every reflector is complete, for as long as an outage lasts.

    With `first`, wait for that before; only then `reflectors` is called, if it depends on that.

    If that takes long, or a watch is refused, the module becomes ready meanwhile. The details of
    its status have the missing lists and the reason (`ApiHealth.report_to`).
    """
    of = reflectors if callable(reflectors) else lambda: reflectors
    listed = asyncio.create_task(_all_synced(of, first))
    refused = asyncio.create_task(health.refused())
    try:
        await asyncio.wait((listed, refused), timeout=PATIENCE, return_when="FIRST_COMPLETED")
        if not listed.done():
            _report_missing(of(), health, context)
            context.ready()
        await listed
    finally:
        listed.cancel()
        refused.cancel()


async def ready_meanwhile(work: Awaitable[None], context: ModuleContext, what: str) -> None:
    """Wait for work at the start of a module, which becomes ready meanwhile if that takes long.

    A restart would not make it faster. `what` says in the log what is being done.
    """
    working = asyncio.ensure_future(work)
    try:
        await asyncio.wait((working,), timeout=PATIENCE)
        if not working.done():
            context.ready()
            log.info("ready, but still busy: %s", what)
        await working
    finally:
        working.cancel()


def _report_missing(
    reflectors: Sequence[Reflector], health: ApiHealth, context: ModuleContext
) -> None:
    missing = sorted(each.resource.plural for each in reflectors if not each.is_synced)
    for what in missing:
        health.suspect(what, Unreachable("it has not answered yet"))
    health.log_now()
    context.report(**health.details())
    log.info("ready, but still waiting for the Kubernetes API to list %s", ", ".join(missing))


async def _all_synced(
    reflectors: Callable[[], Sequence[Reflector]], first: Awaitable[None] | None
) -> None:
    if first is not None:
        await first
    for reflector in reflectors():
        await reflector.synced()
