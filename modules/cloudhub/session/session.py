"""The session of one edge: its connection, from the accepted request to the end."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from typing import Final, Protocol

from picows import WSCloseCode, WSFrame, WSListener, WSMsgType, WSTransport

from ipc import Message
from ipc.message import OP_ERROR
from modules.cloudhub.config import CloudHubConfig
from modules.cloudhub.endpoint.frame_reader import (
    FrameReader,
    TooBig,
)
from modules.cloudhub.endpoint.frame_writer import frames_of
from modules.cloudhub.endpoint.identity import Identity
from modules.cloudhub.metrics import HubStatistics
from modules.cloudhub.protocols.generation import Decoder, Generation
from modules.cloudhub.protocols.served import SILENT, generation_of
from modules.cloudhub.session.ack_coalescing import AckCoalescing
from modules.cloudhub.session.pending_replies import PendingReplies
from modules.cloudhub.session.write_queue import (
    Frames,
    WriteQueue,
    is_state,
)
from modules.common.wire import WireError

log = logging.getLogger(__name__)

#: Seconds within which an edge sends its first message; a silent one is taken for v1.1.
_FIRST_MESSAGE: Final = 1.0
#: Bytes buffered in this process above which writing is paused; the kernel's buffer is extra.
_WRITE_BUFFER: Final = 64 * 1024
#: Seconds added to each pause of the rate limit, so that pauses are few.
_RATE_PAUSE: Final = 0.1
#: What a frame costs in addition to the messages in it: a flood of empty frames is a flood too,
#: while a large message of a Go client, which is fragmented at 4096 bytes, is not.
_FRAME_COST: Final = 1 / 16
#: Bytes of a close reason: a control frame has 125, two of them the code (RFC 6455, 5.5).
_MAX_REASON: Final = 123
# Why reading is paused, as bits. Plain integers, here and below: the enumerations of picows and
# of the standard library would be a large part of the cost of a keepalive.
_UPSTREAM: Final = 1  # back-pressure: too many of its messages are in flight
_RATE: Final = 2  # it has exceeded the rate limit
_GRANT: Final = 4  # the leader has not granted the node yet

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
    """seconds between two messages at the rate limit; 0 if there is no limit"""
    burst_time: float
    """seconds that a burst takes at the rate limit"""
    slow: set[Session]
    """the sessions whose writing is paused, because the edge reads too slowly"""

    @property
    def upstream(self) -> EdgeMessages: ...
    def opened(self, session: Session) -> None: ...
    def enrolled(self, session: Session) -> None: ...
    def ended(self, session: Session, cause: str, reason: str) -> None: ...
    def closing(self, transport: WSTransport) -> None: ...
    def closed(self, transport: WSTransport) -> None: ...


class Session(WSListener):
    """A listener of picows, with no task and no timer of its own, so that idle edges are cheap."""

    __slots__ = (
        "_connection",
        "_decoder",
        "_frames",
        "_loop",
        "_owner",
        "_paid_until",
        "_paused_for",
        "_pending_replies",
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
        "queue",
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
        self._frames = FrameReader(owner.config.max_message_bytes)
        self.queue = WriteQueue(owner.config.queue_messages, owner.config.queue_bytes)
        """messages to the edge that are not written yet"""
        self._paused_for = 0
        self._paid_until = 0.0  # when all it has sent would have been sent at the rate limit
        self._write_paused_at: float | None = None
        self._pending_replies = PendingReplies()

    @property
    def enrolled(self) -> bool:
        """Whether the edge's protocol generation is known: it has sent something, or was silent."""
        return self.generation is not None

    @property
    def generation_name(self) -> str:
        """The name of the protocol generation; empty until the session is enrolled."""
        return self.generation.name if self.generation else ""

    @property
    def pending(self) -> bool:
        """Whether the session waits for the leader's grant."""
        return bool(self._paused_for & _GRANT)

    # From picows

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._transport = transport
        transport.underlying_transport.set_write_buffer_limits(high=_WRITE_BUFFER)
        self._owner.opened(self)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        kind: int = frame.msg_type  # type: ignore[assignment]  # it is an IntEnum at runtime
        if kind == _CLOSE:
            self._closed_by_peer(frame)
        elif self.over:
            return
        elif kind >= _PING:
            self._charge(1)
            if kind == _PING and self._write_paused_at is None:
                transport.send_pong(frame.get_payload_as_bytes())
        elif frame.rsv1 or frame.rsv2 or frame.rsv3:
            self.end(WSCloseCode.PROTOCOL_ERROR, "frame", "reserved bits are set in a frame")
        else:
            try:
                data = self._frames.add(frame, kind)
                self._charge(_FRAME_COST + (self._read(data) if data else 0))
            except WireError as error:
                self.end(WSCloseCode.PROTOCOL_ERROR, "frame", str(error))
            except TooBig as error:
                self.end(WSCloseCode.MESSAGE_TOO_BIG, "frame", str(error))
            except Exception:
                log.exception("node %s: cannot handle a message", self.node)
                self.end(WSCloseCode.INTERNAL_ERROR, "internal", "internal error, see the log")

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        handshake = transport.close_handshake
        if handshake is not None and handshake.sent is not None:
            # picows detected a protocol error and has sent the close frame itself.
            self._finish("frame", handshake.sent.reason or f"closed with {handshake.sent.code}")
        else:
            self._finish("lost", "the connection broke")
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
        """Write a message, or queue it while writing is paused.

        An edge whose queue is full is disconnected: the controllers resend its state when it
        reconnects.
        """
        if self.over or self.generation is None:
            return
        waits = self._write_paused_at is not None  # as do all messages before it
        try:
            if waits:
                message.operation = self.queue.operation_of(message)
            frames = self.generation.encode(message)
        except WireError as error:
            self._owner.statistics.undeliverable_down += 1
            log.error("node %s: cannot send a message: %s", self.node, error)
            return
        if not waits:
            self._write(frames, text=self.generation.text)
            if is_state(message):
                self._owner.coalescing.expect(self._connection)
        elif not self.queue.put(message, frames):
            self.abort(
                "queue",
                f"queue full: {len(self.queue)} messages ({self.queue.bytes} bytes), "
                "and the edge does not read",
            )

    def await_answer(self, message: Message) -> None:
        """Record who sent a question, so that the edge's answer can be routed back."""
        self._pending_replies.add(message, self._loop.time())

    def _flush(self) -> None:
        text = self.generation is not None and self.generation.text
        while self.queue and self._write_paused_at is None and not self.over:
            self._write(self.queue.pop(), text=text)

    def _write(self, frames: Frames, *, text: bool) -> None:
        self._transport.underlying_transport.write(frames_of(frames, text=text))
        self.messages_out += 1
        self._owner.statistics.messages_down += 1

    # Edge to cloud

    def pause_reading(self) -> None:
        self._pause_for(_UPSTREAM)

    def resume_reading(self) -> None:
        self._resume_for(_UPSTREAM)

    def _pause_for(self, reason: int) -> None:
        if not self._paused_for:
            self._transport.underlying_transport.pause_reading()
        self._paused_for |= reason

    def _resume_for(self, reason: int) -> None:
        if not self._paused_for & reason:
            return
        self._paused_for &= ~reason
        if not self._paused_for and not self.over:
            # Its keepalives could not be read during the pause.
            self.last_keepalive = self._loop.time()
            self._transport.underlying_transport.resume_reading()

    def _read(self, data: bytes | bytearray) -> int:
        """Handle a websocket message; return the number of messages that it completes."""
        generation = self.generation or self._enroll(generation_of(data))
        messages = self._decoder.feed(data)
        for message in messages:
            self.messages_in += 1
            self._owner.statistics.messages_up += 1
            if message.operation == generation.keepalive:
                self._owner.statistics.keepalives += 1
                self.last_keepalive = self._loop.time()
            elif self._pending_replies.take(message):
                self._pass_answer(message, generation)
            else:
                self._owner.upstream.receive(message, self)
        return len(messages)

    def _pass_answer(self, message: Message, generation: Generation) -> None:
        try:
            message.content = generation.reply_content(message)
        except WireError as error:
            message.operation = OP_ERROR
            message.content = f"the answer of node {self.node} cannot be used: {error}"
        self._owner.upstream.answer(message, self)

    def _charge(self, cost: float) -> None:
        """Charge `cost` messages to the rate limit; pause reading once the burst is used up.

        The generic cell rate algorithm (ITU-T I.371): one time to store, and a timer only for
        edges that exceed the limit.
        """
        owner = self._owner
        if owner.message_time:
            now = self._loop.time()
            paid_until = max(self._paid_until, now - owner.burst_time) + cost * owner.message_time
            self._paid_until = paid_until
            if paid_until > now and not self._paused_for & _RATE:
                owner.statistics.throttled += 1
                self._pause_for(_RATE)
                self._loop.call_at(paid_until + _RATE_PAUSE, self._end_rate_pause)

    def _end_rate_pause(self) -> None:
        if self._paid_until > self._loop.time():  # frames that had been read before the pause
            self._loop.call_at(self._paid_until + _RATE_PAUSE, self._end_rate_pause)
        else:
            self._resume_for(_RATE)

    # Life cycle

    def await_grant(self) -> None:
        """Pause reading until the leader grants the node."""
        self._pause_for(_GRANT)

    def granted(self) -> None:
        """Start: the node now belongs to this session."""
        self._owner.statistics.accepted += 1
        self._resume_for(_GRANT)

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
        """Enforce the timeouts; return the loop's time at which to check again."""
        config = self._owner.config
        self._pending_replies.expire(now)
        if self.pending:
            due = self.since + config.handshake_timeout
            if now >= due:
                reason = "the leading process of cloudhub does not answer: connect again"
                self.end(WSCloseCode.TRY_AGAIN_LATER, "no grant", reason)
            return min(due, now + config.keepalive_interval)
        if self.generation is None and now >= self.since + _FIRST_MESSAGE:
            self._enroll(SILENT)
        # While reading is paused, a keepalive may be waiting to be read.
        due = (now if self._paused_for else self.last_keepalive) + config.keepalive_interval
        if now >= due:
            reason = f"no keepalive for {config.keepalive_interval:g} s"
            self.end(WSCloseCode.POLICY_VIOLATION, "keepalive", reason)
        return due if self.enrolled else min(due, self.since + _FIRST_MESSAGE)

    def check_write(self, now: float) -> None:
        """Abort the connection if a write has timed out; called for sessions in `slow` only."""
        timeout = self._owner.config.write_timeout
        if self._write_paused_at is not None and now >= self._write_paused_at + timeout:
            self.abort("write", f"a write took longer than {timeout:g} s")

    def end(self, code: WSCloseCode, cause: str, reason: str) -> None:
        """Send a close frame, and leave the edge some time to answer it."""
        if self.over:
            return
        self._finish(cause, reason)
        # Truncated at a character, since the reason has to be UTF-8.
        short = reason.encode()[:_MAX_REASON].decode(errors="ignore")
        self._transport.send_close(code, short.encode())
        if self._paused_for:
            self._transport.underlying_transport.resume_reading()
        self._owner.closing(self._transport)

    def abort(self, cause: str, reason: str) -> None:
        """Close the connection without a close frame, which the edge would not read."""
        if not self.over:
            self._finish(cause, reason)
            self._transport.disconnect(graceful=False)

    def _closed_by_peer(self, frame: WSFrame) -> None:
        if not self.over:
            code, reason = frame.get_close_code(), frame.get_close_reason() or ""
            self._finish("closed by edge", f"the edge closed it ({code} {reason}".rstrip() + ")")
            self._transport.send_close(code)
        self._transport.disconnect()

    def _finish(self, cause: str, reason: str) -> None:
        if not self.over:
            self.over = True
            self._frames.clear()
            self._owner.slow.discard(self)
            self._owner.ended(self, cause, reason)
            for answer in self._pending_replies.give_up(self.node):
                self._owner.upstream.answer(answer)


_last_serial = 0


def _new_serial() -> int:
    """Return a serial from the monotonic clock, which is the same in all processes."""
    global _last_serial  # noqa: PLW0603 - unique within the process
    _last_serial = max(_last_serial + 1, time.monotonic_ns())
    return _last_serial
