"""CloudHub at work: the sessions of all nodes, and what happens when they come and go."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from picows import WSCloseCode, WSTransport

from ipc import Message
from modules.cloudhub.config import CloudHubConfig
from modules.cloudhub.downstream import Downstream
from modules.cloudhub.identity import Identity, Refused
from modules.cloudhub.server import Server
from modules.cloudhub.session import Session
from modules.cloudhub.statistics import Statistics
from modules.cloudhub.tls import ServerTls
from modules.cloudhub.upstream import Upstream

if TYPE_CHECKING:
    from supervisor.context import ModuleContext

log = logging.getLogger(__name__)

#: Seconds between two looks at all sessions, at most; a quarter of the shortest limit if less.
_SWEEP: Final = 1.0
#: Seconds between two reports of how many nodes are connected.
_REPORT: Final = 0.25
#: Seconds that an edge has to answer a close frame.
_CLOSING: Final = 2.0
#: Seconds for the farewells when the module stops.
_STOPPING: Final = 3.0
#: Seconds between two looks at the certificates' files.
_TLS_REFRESH: Final = 5.0


class Hub:
    """Everything of one start of the module."""

    def __init__(self, config: CloudHubConfig, context: ModuleContext, tls: ServerTls) -> None:
        self.config = config
        self.statistics = Statistics()
        self.sessions: dict[str, Session] = {}
        """the sessions that are not over, by node"""
        self.upstream = Upstream(context, self.statistics)
        self.downstream = Downstream(self.sessions, self.upstream, self.statistics)
        self._context = context
        self.tls = tls
        self._loop = asyncio.get_running_loop()
        self._closing: dict[WSTransport, float] = {}
        self._all_closed = asyncio.Event()
        self._all_closed.set()
        self._report_planned = False

    async def run(self, listener: socket.socket) -> None:
        """Serve until the module is asked to stop, then take leave of every edge."""
        if self.config.authorization == "any-trusted":
            log.warning("authorization is any-trusted: each certificate may speak for every node")
        server = Server(self, listener, self.tls)
        try:
            async with asyncio.TaskGroup() as tasks:
                upstream = tasks.create_task(self.upstream.run())
                sweep = tasks.create_task(self._sweep())
                tasks.create_task(self.downstream.run(self._context))
                server.start()
                address, port = listener.getsockname()[:2]
                log.info("edges connect to %s port %d", address, port)
                self._report()
                self._context.ready()
                await self._context.stopped()
                server.stop()
                await self._take_leave()
                upstream.cancel()
                sweep.cancel()
                self._report()
        finally:
            server.stop()

    # From the server

    def admit(self, identity: Identity, address: str) -> Session:
        """Make the session of a node that may connect; Refused at the node limit and the end."""
        if self._context.stopping:
            raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, "stopping", "cloudcore is stopping")
        if identity.node not in self.sessions and len(self.sessions) >= self.config.node_limit:
            raise Refused(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "limit",
                f"node {identity.node!r} would be one more than node_limit = "
                f"{self.config.node_limit} allows",
            )
        return Session(self, identity, address)

    # From sessions

    def opened(self, session: Session) -> None:
        """Let a session begin; an older one of the same node is over at once."""
        self.statistics.accepted += 1
        older = self.sessions.get(session.node)
        if older is not None:
            reason = f"replaced by a newer connection of node {session.node}"
            older.end(WSCloseCode.OK, "replaced", f"{reason}, from {session.address}")
        self.sessions[session.node] = session

    def enrolled(self, session: Session) -> None:
        log.info(
            "node %s connected from %s (%d of %d)",
            *(session.node, session.address, len(self.sessions), self.config.node_limit),
        )
        self._publish(session.node, "connected")
        self._plan_report()

    def ended(self, session: Session, cause: str, reason: str) -> None:
        self.statistics.ended[cause] += 1
        self.statistics.superseded += session.queue.superseded
        log.info("node %s at %s disconnected: %s", session.node, session.address, reason)
        if self.sessions.get(session.node) is session:
            del self.sessions[session.node]
        if session.lane is not None:
            self._publish(session.node, "disconnected")
        self._plan_report()

    def closing(self, transport: WSTransport) -> None:
        """Note a connection that waits for the edge's side of the close."""
        self._closing[transport] = self._loop.time() + _CLOSING
        self._all_closed.clear()

    def closed(self, transport: WSTransport) -> None:
        if self._closing.pop(transport, None) and not self._closing:
            self._all_closed.set()

    def _publish(self, node: str, operation: str) -> None:
        # constructConnectEvent of cloud/pkg/cloudhub/handler/eventhandler.go
        content = {"event_type": operation, "timestamp": int(time.time()), "client_id": node}
        self.upstream.publish(
            Message.build("cloudhub", "resource", operation, f"node/{node}", content)
        )

    # By the clock

    async def _sweep(self) -> None:
        """Look after all sessions now and then, instead of a timer for each."""
        pause = min(_SWEEP, self.config.keepalive_interval / 4, self.config.write_timeout / 4)
        refresh = self._loop.time() + _TLS_REFRESH
        while True:
            await asyncio.sleep(pause)
            now = self._loop.time()
            for session in list(self.sessions.values()):
                session.check(now)
            for transport in [each for each, at in self._closing.items() if now > at]:
                transport.disconnect(graceful=False)
            if now > refresh:
                refresh = now + _TLS_REFRESH
                self.tls.refresh()
            self._report()

    def _plan_report(self) -> None:
        if not self._report_planned:
            self._report_planned = True
            self._loop.call_later(_REPORT, self._report)

    def _report(self) -> None:
        self._report_planned = False
        self._context.report(
            connected_nodes=sum(session.lane is not None for session in self.sessions.values()),
            node_limit=self.config.node_limit,
            **self.statistics.as_details(),
        )

    async def _take_leave(self) -> None:
        for session in list(self.sessions.values()):
            session.end(WSCloseCode.GOING_AWAY, "stopping", "cloudcore is stopping: connect again")
        try:
            async with asyncio.timeout(_STOPPING):
                await self.upstream.drained()
                await self._all_closed.wait()
        except TimeoutError:
            log.warning("%d edges did not take leave in time", len(self._closing))
            for transport in list(self._closing):
                transport.disconnect(graceful=False)
