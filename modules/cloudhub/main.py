"""One process of CloudHub: what runs in it beside the hub."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Final

from modules.cloudhub import open_files
from modules.cloudhub.cluster.protocol import (
    FIRST,
    unit_names,
)
from modules.cloudhub.config import CloudHubConfig
from modules.cloudhub.csi import CsiServer
from modules.cloudhub.endpoint.tls import (
    ServerTls,
    tls_files,
)
from modules.cloudhub.hub import Hub
from modules.cloudhub.nodes import NodesServer, socket_of
from supervisor.api import CannotStart, ModuleContext, Settings

log = logging.getLogger(__name__)

#: Seconds between two looks whether cloudcore's own certificates are about to expire.
_RENEWAL: Final = 12 * 3600.0
#: Seconds between two looks at the clock.
_GLANCE: Final = 5.0
#: Seconds by which a clock is set, and not only steered.
_JUMP: Final = 60.0


async def run(config: CloudHubConfig, settings: Settings, context: ModuleContext) -> None:
    """Serve edges until asked to stop; CannotStart when something is as it may not be."""
    tls = ServerTls(tls_files(config, settings))
    context.report(max_open_files=open_files.check_limit(config.node_limit))
    hub = Hub(config, context, tls, unit_names(config.processes))
    async with AsyncExitStack() as servers:
        try:
            path = socket_of(settings.run_dir, context.name)
            await servers.enter_async_context(NodesServer(path, context.name, hub.sessions))
            if config.uds_address and context.name == FIRST:
                csi = CsiServer(config.uds_address, context, config.max_message_bytes)
                await servers.enter_async_context(csi)
        except OSError as error:
            raise CannotStart(error.strerror or str(error)) from error
        if not config.ca:
            await servers.enter_async_context(_renewing(config, settings))
        await hub.run(context.sockets["websocket"])


@contextlib.asynccontextmanager
async def _renewing(config: CloudHubConfig, settings: Settings) -> AsyncIterator[None]:
    """Make the server's certificate anew in good time; the hub takes it when the file changes."""

    async def look() -> None:
        while True:
            await _due()
            try:
                await asyncio.to_thread(tls_files, config, settings)  # a key takes a while to make
            except CannotStart as error:
                log.error("%s: the old one is used as long as it is good", error)

    looking = asyncio.create_task(look())
    try:
        yield
    finally:
        looking.cancel()


async def _due() -> None:
    """Wait until it is time to look, which it is at once when the clock has been set.

    Timers go by the monotonic clock, and certificates end by the other one.
    """
    began = time.monotonic()
    ahead = time.time() - began
    while time.monotonic() - began < _RENEWAL:
        await asyncio.sleep(min(_GLANCE, _RENEWAL))
        jump = time.time() - time.monotonic() - ahead
        if abs(jump) > _JUMP:
            log.info("the clock was set by %+.0f s: looking at the certificates", jump)
            return
