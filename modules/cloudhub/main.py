"""The entry point of a process of CloudHub: the hub, its Unix sockets, certificate renewal.

What only some processes do (joining, CSI, replicas) is imported where it begins: the client of the
Kubernetes API alone is 18 MiB.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

from ipc.background import kept_running
from ipc.files import in_words
from modules.cloudhub import open_files
from modules.cloudhub.cluster.protocol import FIRST, unit_names
from modules.cloudhub.config import CloudHubConfig
from modules.cloudhub.endpoint.tls import ServerTls, tls_files
from modules.cloudhub.hub import Hub
from modules.cloudhub.joining.join_line import Ports, make_join_line
from modules.cloudhub.nodes import NodesServer, read_rows, socket_of
from modules.cloudhub.questions import Questions
from modules.common.pki import renewal
from supervisor.api import CannotStart, ModuleContext, Settings

if TYPE_CHECKING:  # a single cloudcore loads none of it
    from modules.cloudhub.member import Member

log = logging.getLogger(__name__)


async def run(config: CloudHubConfig, settings: Settings, context: ModuleContext) -> None:
    """Serve edges until asked to stop; raises CannotStart for certificates and sockets."""
    if settings.kubernetes.configured:
        from modules.cloudhub.joining.adoption import ensure_cluster_authority

        await ensure_cluster_authority(config, settings, context)
    tls = ServerTls(tls_files(config, settings))
    drivers = _drivers(config, context)
    context.report(max_open_files=open_files.check_limit(config.node_limit, drivers))
    async with AsyncExitStack() as servers:
        member = None
        if settings.replicas.enabled and context.name == FIRST:
            from modules.cloudhub.member import joined

            member = await servers.enter_async_context(joined(config, settings, context))
        membership = member.membership if member else None
        units = unit_names(config.processes)
        longest = settings.replicas.lease_duration if settings.replicas.enabled else 0.0
        hub = Hub(config, context, tls, units, membership=membership, longest_stop=longest)
        try:
            await _serve_others(servers, hub, member, settings)
        except OSError as error:
            raise CannotStart(in_words(error)) from error
        if not config.ca:
            await servers.enter_async_context(_renewing(config, settings))
        if (listener := context.sockets.get("https")) and context.name == FIRST:
            await servers.enter_async_context(_joining(config, settings, tls, listener, context))
        await hub.run(context.sockets["websocket"])


async def _serve_others(
    servers: AsyncExitStack, hub: Hub, member: Member | None, settings: Settings
) -> None:
    """Serve all clients that are no edges: commands, CSI drivers, replicas; raises OSError."""
    config, context = hub.config, hub.context
    nodes = NodesServer(
        socket_of(settings.run_dir, context.name),
        context.name,
        hub.sessions,
        partial(_join_line, config, settings, context.sockets),
        replica=settings.replicas.identity if settings.replicas.enabled else "",
        others=member.peers.nodes if member else None,
    )
    await servers.enter_async_context(nodes)
    questions = Questions(context, member.peers if member else None)
    hub.on_disconnected(questions.disconnected)
    if _drivers(config, context):
        from modules.cloudhub.csi.server import CsiServer

        await servers.enter_async_context(CsiServer(config.uds_address, questions))
    if member:
        rows = partial(read_rows, settings.run_dir, unit_names(config.processes))
        await servers.enter_async_context(member.server(questions, rows))


def _drivers(config: CloudHubConfig, context: ModuleContext) -> int:
    """Return how many connections of CSI drivers this process serves at most."""
    if not config.uds_address or context.name != FIRST:
        return 0
    from modules.cloudhub.csi.server import CONNECTIONS

    return CONNECTIONS


def _join_line(
    config: CloudHubConfig, settings: Settings, sockets: Mapping[str, socket.socket]
) -> dict[str, Any]:
    """Make a token, and return the line for a new edge node with it."""
    websocket, https = (_port(sockets.get(name)) for name in ("websocket", "https"))
    line, token = make_join_line(config, settings.data_dir, Ports(websocket, https))
    return {"command": line, "id": token.id, "expires": token.expires}


def _port(listener: socket.socket | None) -> int:
    port: int = listener.getsockname()[1] if listener else 0
    return port


def _joining(
    config: CloudHubConfig,
    settings: Settings,
    tls: ServerTls,
    listener: socket.socket,
    context: ModuleContext,
) -> AbstractAsyncContextManager[None]:
    """Let edges join: in one process of several, so that a limit of an address is one."""
    from modules.cloudhub.joining import joining

    def report(leader: str) -> None:
        context.report(leader=leader)

    # What ends it ends no session.
    work = partial(joining.serve, config, settings, tls, listener, report)
    return kept_running("the port at which edges join", work)


def _renewing(config: CloudHubConfig, settings: Settings) -> AbstractAsyncContextManager[None]:
    """Renew the server's certificate before it expires; the hub reloads the changed file."""

    async def look() -> None:
        while True:
            await renewal.due()
            try:
                # In a thread, as generating a key takes a while.
                await asyncio.to_thread(tls_files, config, settings)
            except CannotStart as error:
                log.error("%s; the old ones stay in use until they expire", error)

    return kept_running("the renewal of certificates", look)
