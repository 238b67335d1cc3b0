"""The hub: owns the sessions of this process, and connects endpoint, routing and cluster."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from picows import WSCloseCode

from ipc import Message
from modules.cloudhub.cluster.directory import DISCONNECTED
from modules.cloudhub.cluster.follower import Follower
from modules.cloudhub.cluster.leader import Leader
from modules.cloudhub.cluster.protocol import Cluster
from modules.cloudhub.config import CloudHubConfig
from modules.cloudhub.endpoint.ack_coalescing import AckCoalescing
from modules.cloudhub.endpoint.edge_connection import EdgeConnection
from modules.cloudhub.endpoint.identity import HandshakeRefused, Identity
from modules.cloudhub.endpoint.tls import ServerTls
from modules.cloudhub.endpoint.websocket import Server
from modules.cloudhub.metrics import Exporter, HubStatistics
from modules.cloudhub.replicas.suspension import Suspension
from modules.cloudhub.routing.downstream import Downstream
from modules.cloudhub.routing.upstream import Upstream
from modules.cloudhub.session.deadlines import Deadlines
from modules.cloudhub.session.session import Session
from modules.common.log_limit import LogLimit, network_of
from modules.common.wire import generations
from supervisor.api import ModuleContext

if TYPE_CHECKING:
    from modules.cloudhub.replicas.membership import Membership

log = logging.getLogger(__name__)

#: Seconds between two checks of the deadlines: at most this, or a quarter of the shortest timeout.
_SWEEP: Final = 1.0
#: Seconds between two reports of the number of connected nodes.
_REPORT: Final = 0.25
#: Seconds until an edge must have answered a close frame.
_CLOSING: Final = 2.0
#: Seconds for the last close handshakes when the module stops.
_STOPPING: Final = 3.0
#: Sessions that are closed per second, at least, when the module stops.
_CLOSED_PER_SECOND: Final = 100
#: Seconds between two checks of the certificate files, and two updates of the gauges.
_REFRESH: Final = 5.0
#: Seconds between two checks of all edges' certificates for the metrics.
_CERTIFICATES: Final = 60.0


class Hub:
    """The state of one process of the module, from its start to its stop."""

    def __init__(
        self,
        config: CloudHubConfig,
        context: ModuleContext,
        tls: ServerTls,
        units: Sequence[str] = (),
        *,
        membership: Membership | None = None,
        longest_stop: float = 0.0,
    ) -> None:
        """`units` are the names of all processes, the leader's first; empty if there is one.

        With several replicas, the leader has a `membership`, and each process lets its nodes go
        after a stop that was longer than `longest_stop` seconds.
        """
        self.config = config
        self.message_time = 1 / config.rate_limit if config.rate_limit else 0.0
        self.burst_time = config.rate_burst * self.message_time
        self.statistics = HubStatistics()
        self._refusals, self._log = LogLimit(log), LogLimit(log)
        self.sessions: dict[str, Session] = {}
        """node -> session of this process that is not over"""
        self.suspension = Suspension(longest_stop, self._start_over) if longest_stop else None
        self.slow: set[Session] = set()
        self.coalescing = AckCoalescing()
        self._deadlines = Deadlines(self.sessions)
        self._enrolled = 0
        self.upstream = Upstream(context, self.statistics)
        self._membership = membership
        self.cluster = self._make_cluster(context, units)
        self.downstream = Downstream(
            self.sessions, self.cluster, self.upstream, self.statistics, self.suspension
        )
        self.context = context
        self.tls = tls
        self._exporter = Exporter(self.statistics, config.node_limit)
        self._loop = asyncio.get_running_loop()
        self._closing: dict[EdgeConnection, float] = {}
        self._all_closed = asyncio.Event()
        self._all_closed.set()
        self._report_scheduled = False
        self._on_disconnected: list[Callable[[str], None]] = []

    def on_disconnected(self, callback: Callable[[str], None]) -> None:
        """Have the leader call `callback` with each node that has lost its session."""
        self._on_disconnected.append(callback)

    def _make_cluster(self, context: ModuleContext, units: Sequence[str]) -> Cluster:
        first, *others = units or (context.name,)
        if context.name != first:
            return Follower(context, first, self.sessions)
        limit, ownership = self.config.node_limit, None
        if self._membership is not None:
            ownership = self._membership.nodes
        leader = Leader(
            context, others, limit, self.sessions, publish=self._publish, ownership=ownership
        )
        if self._membership is not None:
            self._membership.on_lost = leader.lost
        return leader

    async def run(self, listener: socket.socket) -> None:
        """Serve until the module is asked to stop, then close every session."""
        if self.config.authorization == "any-trusted":
            log.warning(
                "authorization is any-trusted: every certificate is accepted for every node"
            )
        server = Server(self, listener, self.tls)
        try:
            async with asyncio.TaskGroup() as tasks:
                running = [
                    tasks.create_task(self.upstream.run()),
                    tasks.create_task(self.cluster.run()),
                    tasks.create_task(self._sweep()),
                ]
                tasks.create_task(self.downstream.run(self.context))
                if self._membership is not None:
                    running.append(tasks.create_task(self._membership.run()))
                await self.cluster.joined()
                server.start()
                address, port = listener.getsockname()[:2]
                log.info("listening for edges on %s port %d", address, port)
                self._report()
                self.context.ready()
                await self.context.stopped()
                server.stop()
                await self._close_sessions()
                for task in running:
                    task.cancel()
                self._report()
        finally:
            server.stop()

    # Called by the server

    def refuse(self, address: str, cause: str, reason: str) -> None:
        """Count a connection that gets no session, and log it unless its host has had its lines."""
        self.statistics.refused[cause] += 1
        host = address.rpartition(":")[0].strip("[]")
        text = f"connection from {address} refused: {reason}"
        self._refusals.put(network_of(host), logging.WARNING, text)

    def admit(self, identity: Identity, address: str, connection: socket.socket) -> EdgeConnection:
        """Return a new session's connection; HandshakeRefused at the node limit, when stopping."""
        if self.context.stopping:
            raise HandshakeRefused(
                HTTPStatus.SERVICE_UNAVAILABLE, "stopping", "cloudcore is stopping"
            )
        self.cluster.check(identity.node)
        session = Session(self, identity, address)
        return EdgeConnection(self, session, connection, self.config.max_message_bytes)

    # Called by sessions and connections

    def opened(self, session: Session) -> None:
        """Start a session; an older one of the same node ends at once."""
        granted = self.cluster.claim(session)
        self.sessions[session.node] = session
        self._deadlines.add(self._loop.time(), session)
        if granted:
            session.granted()
        else:
            session.await_grant()

    def enrolled(self, session: Session) -> None:
        text = f"node {session.node} connected from {session.address}"
        self._log.put(session.node, logging.INFO, text)
        self._enrolled += 1
        self.cluster.enroll(session)
        self._schedule_report()

    def ended(self, session: Session, cause: str, reason: str) -> None:
        if session.pending:
            self.refuse(session.address, cause, reason)
        else:
            self.statistics.ended[cause] += 1
            self.statistics.superseded += session.queue.superseded
            text = f"node {session.node} at {session.address} disconnected: {reason}"
            self._log.put(session.node, logging.INFO, text)
        self._enrolled -= session.enrolled
        if self.sessions.get(session.node) is session:
            del self.sessions[session.node]
        self.cluster.release(session)
        self._schedule_report()

    def closing(self, connection: EdgeConnection) -> None:
        """Record a connection whose close handshake the edge has to complete."""
        self._closing[connection] = self._loop.time() + _CLOSING
        self._all_closed.clear()

    def closed(self, connection: EdgeConnection) -> None:
        if self._closing.pop(connection, None) and not self._closing:
            self._all_closed.set()

    def _publish(self, node: str, operation: str, generation: str) -> None:
        if operation == DISCONNECTED:
            for callback in self._on_disconnected:
                callback(node)
        # constructConnectEvent of cloud/pkg/cloudhub/handler/eventhandler.go, and the generation
        content = {"event_type": operation, "timestamp": int(time.time()), "client_id": node}
        content |= generations.tell(generation)
        self.upstream.publish(
            Message.build("cloudhub", "resource", operation, f"node/{node}", content)
        )

    # Timers

    async def _sweep(self) -> None:
        """Check the sessions whose deadline has passed, periodically, without a timer for each."""
        suspension = self.suspension
        pause = min(_SWEEP, self.config.keepalive_interval / 4, self.config.write_timeout / 4)
        refresh = certificates = self._loop.time()
        while True:
            if suspension:
                suspension.passed()
            now = self._loop.time()
            for session in self._deadlines.due(now):
                self._deadlines.add(session.check(now), session)
            for session in list(self.slow):
                session.check_write(now)
            for connection in [each for each, at in self._closing.items() if now > at]:
                connection.abort()
            if now >= refresh:
                refresh = now + _REFRESH
                self.tls.refresh()
                self._refusals.flush()
                self._log.flush()
                self._export_gauges()
            if now >= certificates:
                certificates = now + _CERTIFICATES
                expiries = [each.identity.expires for each in self.sessions.values()]
                self._exporter.certificates(expiries, time.time())
            self._report()
            await asyncio.sleep(pause)

    def _export_gauges(self) -> None:
        queues = [session.queue for session in self.slow]
        self._exporter.gauges(
            nodes=self._enrolled,
            queue_messages=sum(map(len, queues)),
            queue_bytes=sum(queue.bytes for queue in queues),
            server_expiry=self.tls.expires,
        )

    def _schedule_report(self) -> None:
        if not self._report_scheduled:
            self._report_scheduled = True
            self._loop.call_later(_REPORT, self._report)

    def _report(self) -> None:
        self._report_scheduled = False
        self._exporter.totals()
        self.context.report(
            connected_nodes=self._enrolled,
            node_limit=self.config.node_limit,
            **self.statistics.as_details(),
        )

    def _start_over(self, reason: str) -> None:
        for session in list(self.sessions.values()):
            session.start_over(reason)

    # Stopping

    async def _close_sessions(self) -> None:
        """Close every session, spread over time so that the reconnects are spread as well."""
        sessions = list(self.sessions.values())
        start = self._loop.time()
        spread = min(self.config.stop_spread, len(sessions) / _CLOSED_PER_SECOND)
        for number, session in enumerate(sessions):
            ahead = start + spread * number / len(sessions) - self._loop.time()
            if ahead > 0:
                await asyncio.sleep(ahead)
            session.end(WSCloseCode.GOING_AWAY, "stopping", "cloudcore is stopping: connect again")
        try:
            async with asyncio.timeout(_STOPPING):
                await self.cluster.drained()
                await self.upstream.drained()
                await self._all_closed.wait()
        except TimeoutError:
            log.warning("%d edges did not complete the close handshake in time", len(self._closing))
            for connection in list(self._closing):
                connection.abort()
