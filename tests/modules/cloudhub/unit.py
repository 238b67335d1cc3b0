"""One process of CloudHub, without a supervisor: for tests that kill it."""

from __future__ import annotations

import asyncio
import signal
import socket
from typing import Any

import multiprocess
import uvloop
from multiprocess.process import BaseProcess

from ipc import ChannelRegistry
from modules.cloudhub.cluster.protocol import unit_names
from modules.cloudhub.config import CloudHubConfig
from modules.cloudhub.endpoint.tls import ServerTls, TlsFiles
from modules.cloudhub.hub import Hub
from tests.modules.cloudhub.cloud import HubContext

_spawn = multiprocess.get_context("spawn")
#: Seconds for importing what the process needs, on a busy machine.
_START = 60.0


async def start(
    registry: ChannelRegistry,
    unit: str,
    listener: socket.socket,
    files: TlsFiles,
    settings: dict[str, Any],
) -> BaseProcess:
    """Start the process of a unit, and wait until it is ready; it serves until SIGTERM."""
    ready = _spawn.Event()
    process = _spawn.Process(target=_main, args=(registry, unit, listener, files, settings, ready))
    process.start()
    if await asyncio.to_thread(ready.wait, _START):
        return process
    process.kill()  # or the tests would wait for it at their end
    process.join()
    raise AssertionError(f"{unit} was not ready within {_START:g} s")


def _main(
    registry: ChannelRegistry,
    unit: str,
    listener: socket.socket,
    files: TlsFiles,
    settings: dict[str, Any],
    ready: Any,
) -> None:
    async def serve() -> None:
        context = HubContext(registry, unit)
        context.ready = ready.set  # type: ignore[method-assign]
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, context.stop)
        config = CloudHubConfig(**settings)
        hub = Hub(config, context, ServerTls(files), unit_names(config.processes))  # type: ignore[arg-type]
        await hub.run(listener)
        context.close()

    listener.setblocking(False)
    uvloop.run(serve())
