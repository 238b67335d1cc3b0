"""One edge's connection, from the accepted request to its end."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from typing import Final, Protocol

from picows import WSCloseCode, WSFrame, WSListener, WSMsgType, WSTransport

from ipc import Message
from modules.cloudhub.config import CloudHubConfig
from modules.cloudhub.endpoint.frame_reader import (
    FrameReader,
    TooBig,
)
from modules.cloudhub.endpoint.frame_writer import frames_of
from modules.cloudhub.endpoint.identity import Identity
from modules.cloudhub.metrics import HubStatistics
from modules.cloudhub.protocols.generation import Decoder, Generation
from modules.cloudhub.protocols.served import SILENT, NotServed, generation_of
from modules.cloudhub.session.ack_coalescing import AckCoalescing
from modules.cloudhub.session.pending_replies import PendingReplies
from modules.cloudhub.session.write_queue import (
    Frames,
    WriteQueue,
    is_state,
)
from modules.common.wire import WireError

log = logging.getLogger(__name__)

#: Seconds in which an edge says something of itself; one that does not is taken for v1.1.
_FIRST_MESSAGE: Final = 1.0
#: Bytes in this process that make a write wait; the kernel has its own buffer beside.
_WRITE_BUFFER: Final = 64 * 1024
#: Seconds that who has sent too much is not read beyond what its rate asks for.
_RATE_PAUSE: Final = 0.1
#: What a frame counts beside the messages in it: floods of empty ones are floods too, while a
#: large message of a Go client, which is fragmented at 4096 bytes, is not.
_FRAME_COST: Final = 1 / 16
#: A control frame has room for 125 bytes, two of them the code (RFC 6455, 5.5).
_MAX_REASON: Final = 123
# Why a connection is not read, as bits. Plain numbers, here and below: the enumerations of
# picows and of the standard library would be a good part of what a keepalive costs.
_UPSTREAM: Final = 1  # its messages are not taken as fast as they come
_RATE: Final = 2  # it has sent more than it may
_GRANT: Final = 4  # the first process has not let it in yet

_CLOSE: Final = WSMsgType.CLOSE.value
_PING: Final = WSMsgType.PING.value


class EdgeMessages(Protocol):
    """Where the messages of edges go; both methods may call `pause_reading` of the session."""

    def receive(self, message: Message, session: Session) -> None:
        """Pass on a message of an edge."""

    def answer(self, message: Message, session: Session | None = None) -> None:
        """Pass on an answer to the module that asked."""


class SessionOwner(Protocol):
    """What a session needs of the hub."""

    config: CloudHubConfig
    statistics: HubStatistics
    coalescing: AckCoalescing
    message_time: float
    """seconds in which a node may send one message; 0 if it may send as many as it likes"""
    burst_time: float
    """seconds in which it earns a burst"""
    slow: set[Session]
    """those that messages wait for, since they do not read as fast"""

    @property
    def upstream(self) -> EdgeMessages: ...
    def opened(self, session: Session) -> None: ...
    def enrolled(self, session: Session) -> None: ...
    def not_served(self, session: Session, reason: str) -> None: ...
    def ended(self, session: Session, cause: str, reason: str) -> None: ...
    def closing(self, transport: WSTransport) -> None: ...
    def closed(self, transport: WSTransport) -> None: ...


class Session(WSListener):
    """A listener of picows: no task and no timer of its own, so that idle edges cost little."""

    __slots__ = (
        "_awaited",
        "_connection",
        "_decoder",
        "_earned",
        "_fragments",
        "_held",
        "_loop",
        "_outbound",
        "_owner",
        "_transport",
        "_write_paused_at",
        "address",
        "bytes_in_flight",
        "generation",
        "identity",
        "in_flight",
        "last_keepalive",
        "messages_in",
        "messages_out",
        "node",
        "over",
        "serial",
        "since",
    )

    def __init__(
        self, owner: SessionOwner, identity: Identity, address: str, connection: socket.socket
    ) -> None:
        self._owner = owner
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        self.identity = identity
        self.node = identity.node
        self.address = address
        self.generation: Generation | None = None
        """the protocol generation, known once the session is enrolled"""
        self.over = False
        self.since = self.last_keepalive = self._loop.time()
        self.serial = _new_serial()
        self.messages_in = self.messages_out = 0
        self.in_flight = self.bytes_in_flight = 0
        self._transport: WSTransport
        self._decoder: Decoder
        self._fragments = FrameReader(owner.config.max_message_bytes)
        self._outbound = WriteQueue(owner.config.queue_messages, owner.config.queue_bytes)
        self._held = 0
        self._earned = 0.0  # when all that it has sent would have come at its rate
        self._write_paused_at: float | None = None
        self._awaited = PendingReplies()

    @property
    def queue(self) -> WriteQueue:
        """What waits to be written."""
        return self._outbound

    @property
    def enrolled(self) -> bool:
        """Whether the edge's protocol generation is known: it has sent something, or was silent."""
        return self.generation is not None

    @property
    def pending(self) -> bool:
        """Whether the first process has yet to let it in."""
        return bool(self._held & _GRANT)

    # From picows

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._transport = transport
        transport.underlying_transport.set_write_buffer_limits(high=_WRITE_BUFFER)
        self._owner.opened(self)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        kind: int = frame.msg_type  # type: ignore[assignment]  # it is an IntEnum at runtime
        if kind == _CLOSE:
            self._peer_closes(frame)
        elif self.over:
            return
        elif kind >= _PING:
            self._earn(1)
            if kind == _PING and self._write_paused_at is None:
                transport.send_pong(frame.get_payload_as_bytes())
        elif frame.rsv1 or frame.rsv2 or frame.rsv3:
            self.end(WSCloseCode.PROTOCOL_ERROR, "frame", "reserved bits are set in a frame")
        else:
            try:
                data = self._fragments.add(frame, kind)
                self._earn(_FRAME_COST + (self._read(data) if data else 0))
            except NotServed as error:
                self.end(WSCloseCode.UNSUPPORTED_DATA, "not served", str(error))
                self._owner.not_served(self, str(error))
            except WireError as error:
                self.end(WSCloseCode.PROTOCOL_ERROR, "frame", str(error))
            except TooBig as error:
                self.end(WSCloseCode.MESSAGE_TOO_BIG, "frame", str(error))
            except Exception:
                log.exception("node %s: a message could not be handled", self.node)
                self.end(WSCloseCode.INTERNAL_ERROR, "internal", "internal error, see the log")

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        handshake = transport.close_handshake
        if handshake is not None and handshake.sent is not None:
            # picows found a fault and has said so itself.
            self._leave("frame", handshake.sent.reason or f"closed with {handshake.sent.code}")
        else:
            self._leave("lost", "the connection broke")
        self._owner.closed(transport)

    def pause_writing(self) -> None:
        self._write_paused_at = self._loop.time()
        if not self.over:
            self._owner.slow.add(self)

    def resume_writing(self) -> None:
        self._write_paused_at = None
        self._owner.slow.discard(self)
        self._flush()

    # Cloud to edge

    def send(self, message: Message) -> None:
        """Write a message, or queue it while the edge does not read as fast.

        An edge with a full queue is disconnected: it gets everything again when it returns.
        """
        if self.over or self.generation is None:
            return
        waits = self._write_paused_at is not None  # as do all before it
        try:
            if waits:
                message.operation = self._outbound.operation_of(message)
            frames = self.generation.encode(message)
        except WireError as error:
            self._owner.statistics.undeliverable_down += 1
            log.error("node %s: %s", self.node, error)
            return
        if not waits:
            self._write(frames)
            if is_state(message):
                self._owner.coalescing.expect(self._connection)
        elif not self._outbound.put(message, frames):
            self.abort(
                "queue",
                f"{len(self._outbound)} messages ({self._outbound.bytes} bytes) wait for it and "
                "it does not read",
            )

    def await_answer(self, message: Message) -> None:
        """Remember who asked, so that the edge's answer finds its way back."""
        self._awaited.add(message, self._loop.time())

    def _flush(self) -> None:
        while self._outbound and self._write_paused_at is None and not self.over:
            self._write(self._outbound.pop())

    def _write(self, frames: Frames) -> None:
        self._transport.underlying_transport.write(frames_of(frames))
        self.messages_out += 1
        self._owner.statistics.messages_down += 1

    # Edge to cloud

    def pause_reading(self) -> None:
        self._hold(_UPSTREAM)

    def resume_reading(self) -> None:
        self._let_go(_UPSTREAM)

    def _hold(self, reason: int) -> None:
        if not self._held:
            self._transport.underlying_transport.pause_reading()
        self._held |= reason

    def _let_go(self, reason: int) -> None:
        if not self._held & reason:
            return
        self._held &= ~reason
        if not self._held and not self.over:
            # Its keepalives were waiting to be read, too.
            self.last_keepalive = self._loop.time()
            self._transport.underlying_transport.resume_reading()

    def _read(self, data: bytes | bytearray) -> int:
        """Take a websocket message; return how many messages it has completed."""
        generation = self.generation or self._enroll(generation_of(data))
        messages = self._decoder.feed(data)
        for message in messages:
            self.messages_in += 1
            self._owner.statistics.messages_up += 1
            if message.operation == generation.keepalive:
                self._owner.statistics.keepalives += 1
                self.last_keepalive = self._loop.time()
            elif self._awaited.take(message):
                self._owner.upstream.answer(message, self)
            else:
                self._owner.upstream.receive(message, self)
        return len(messages)

    def _earn(self, cost: float) -> None:
        """Take account of so many messages; who has sent more than a burst is not read for a while.

        A generic cell rate algorithm (ITU-T I.371): one time to keep, and no timer but for
        those that send too much.
        """
        owner = self._owner
        if owner.message_time:
            now = self._loop.time()
            earned = max(self._earned, now - owner.burst_time) + cost * owner.message_time
            self._earned = earned
            if earned > now and not self._held & _RATE:
                owner.statistics.throttled += 1
                self._hold(_RATE)
                self._loop.call_at(earned + _RATE_PAUSE, self._earned_it)

    def _earned_it(self) -> None:
        if self._earned > self._loop.time():  # more had been read already when it was held
            self._loop.call_at(self._earned + _RATE_PAUSE, self._earned_it)
        else:
            self._let_go(_RATE)

    # Life

    def await_grant(self) -> None:
        """Do not read until the first process has let it in."""
        self._hold(_GRANT)

    def granted(self) -> None:
        """Begin: the node is this session's."""
        self._owner.statistics.accepted += 1
        self._let_go(_GRANT)

    def refused(self, reason: str) -> None:
        self.end(WSCloseCode.TRY_AGAIN_LATER, "limit", reason)

    def replaced(self) -> None:
        reason = f"replaced by a newer connection of node {self.node}"
        self.end(WSCloseCode.OK, "replaced", reason)

    def start_over(self, reason: str) -> None:
        self.end(WSCloseCode.SERVICE_RESTART, "started over", f"{reason}: connect again")

    def _enroll(self, generation: Generation) -> Generation:
        self.generation = generation
        self._decoder = generation.decoder(self._owner.config.max_message_bytes)
        self._owner.enrolled(self)
        return generation

    def check(self, now: float) -> float:
        """Do what time asks for; return when to look again."""
        config = self._owner.config
        self._awaited.expire(now)
        if self.pending:
            due = self.since + config.handshake_timeout
            if now >= due:
                reason = "the first process of cloudhub does not answer: connect again"
                self.end(WSCloseCode.TRY_AGAIN_LATER, "no grant", reason)
            return min(due, now + config.keepalive_interval)
        if self.generation is None and now >= self.since + _FIRST_MESSAGE:
            self._enroll(SILENT)
        # Of one that is held, a keepalive may wait to be read.
        due = (now if self._held else self.last_keepalive) + config.keepalive_interval
        if now >= due:
            reason = f"no keepalive for {config.keepalive_interval:g} s"
            self.end(WSCloseCode.POLICY_VIOLATION, "keepalive", reason)
        return due if self.enrolled else min(due, self.since + _FIRST_MESSAGE)

    def check_write(self, now: float) -> None:
        """Cut the connection if a write takes too long; only of one that is `slow`."""
        timeout = self._owner.config.write_timeout
        if self._write_paused_at is not None and now >= self._write_paused_at + timeout:
            self.abort("write", f"a write took longer than {timeout:g} s")

    def end(self, code: WSCloseCode, cause: str, reason: str) -> None:
        """Close with a code and a reason; the edge has a moment to answer."""
        if self.over:
            return
        self._leave(cause, reason)
        # Cut at a character: the reason has to be UTF-8.
        short = reason.encode()[:_MAX_REASON].decode(errors="ignore")
        self._transport.send_close(code, short.encode())
        if self._held:
            self._transport.underlying_transport.resume_reading()
        self._owner.closing(self._transport)

    def abort(self, cause: str, reason: str) -> None:
        """Cut the connection: the edge does not read, so that it could not be told."""
        if not self.over:
            self._leave(cause, reason)
            self._transport.disconnect(graceful=False)

    def _peer_closes(self, frame: WSFrame) -> None:
        if not self.over:
            code, reason = frame.get_close_code(), frame.get_close_reason() or ""
            self._leave("closed by edge", f"the edge closed it ({code} {reason}".rstrip() + ")")
            self._transport.send_close(code)
        self._transport.disconnect()

    def _leave(self, cause: str, reason: str) -> None:
        if not self.over:
            self.over = True
            self._fragments.clear()
            self._owner.slow.discard(self)
            self._owner.ended(self, cause, reason)
            for answer in self._awaited.give_up(self.node):
                self._owner.upstream.answer(answer)


_last_serial = 0


def _new_serial() -> int:
    """Number a session by the time, which is the same clock in all processes."""
    global _last_serial  # noqa: PLW0603 - what makes it unique is the process
    _last_serial = max(_last_serial + 1, time.monotonic_ns())
    return _last_serial
