"""A module that waits until the Kubernetes API has given all that it watches."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Final

from modules.common.kube.errors import Unreachable
from modules.common.kube.health import ApiHealth
from modules.common.kube.reflector import Reflector
from supervisor.api import ModuleContext

#: Seconds after which a module that still waits for the API says so and counts as ready: it is
#: the API that is missing, and a restart of this module would not bring it.
PATIENCE: Final = 15.0

log = logging.getLogger(__name__)


async def synced(
    reflectors: Sequence[Reflector], health: ApiHealth, context: ModuleContext
) -> None:
    """Wait until every reflector holds a whole list, however long the API is away.

    When it takes long, or a watch is refused, the module counts as ready nevertheless. What it
    waits for, and why, is in its details as long as that is so (`ApiHealth.report_to`).
    """
    listed = asyncio.create_task(_all_synced(reflectors))
    refused = asyncio.create_task(health.refused())
    try:
        await asyncio.wait((listed, refused), timeout=PATIENCE, return_when="FIRST_COMPLETED")
        if not listed.done():
            _say_what_is_missing(reflectors, health, context)
            context.ready()
        await listed
    finally:
        listed.cancel()
        refused.cancel()


def _say_what_is_missing(
    reflectors: Sequence[Reflector], health: ApiHealth, context: ModuleContext
) -> None:
    missing = sorted(each.resource.plural for each in reflectors if not each.is_synced)
    for what in missing:
        health.suspect(what, Unreachable("it has not answered yet"))
    health.log_now()
    context.report(**health.details())
    log.info(f"ready, but still waiting for the Kubernetes API to list {', '.join(missing)}")


async def _all_synced(reflectors: Sequence[Reflector]) -> None:
    for reflector in reflectors:
        await reflector.synced()
