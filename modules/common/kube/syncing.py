"""A module that waits until the Kubernetes API has given all that it watches."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Final

from modules.common.kube.reflector import Reflector
from supervisor.api import ModuleContext

#: Seconds after which a module that still waits for the API says so and counts as ready: it is
#: the API that is missing, and a restart of this module would not bring it.
PATIENCE: Final = 15.0

log = logging.getLogger(__name__)


async def synced(reflectors: Sequence[Reflector], context: ModuleContext) -> None:
    """Wait until every reflector holds a whole list, however long the API is away.

    When it takes long, the module's details say in `waiting_for` what is missing, and in
    `because` what the API has said to that.
    """
    try:
        async with asyncio.timeout(PATIENCE):
            await _all_synced(reflectors)
    except TimeoutError:
        _say_what_is_missing(reflectors, context)
        context.ready()
        await _all_synced(reflectors)
        context.report(waiting_for="", because="")


def _say_what_is_missing(reflectors: Sequence[Reflector], context: ModuleContext) -> None:
    missing = [reflector for reflector in reflectors if not reflector.is_synced]
    names = ", ".join(reflector.resource.plural for reflector in missing)
    because = next((str(each.error) for each in missing if each.error), "it has not answered yet")
    log.warning(f"not in step yet: the Kubernetes API has not given {names}: {because}")
    context.report(waiting_for=names, because=because)


async def _all_synced(reflectors: Sequence[Reflector]) -> None:
    for reflector in reflectors:
        await reflector.synced()
