"""The session of one edge: what its messages mean, as long as its connection lasts.

It has no socket: its connection is endpoint/edge_connection.py, or anything with the operations of
Connection (interfaces.py).
"""

from __future__ import annotations

import asyncio
import time
from typing import Final

from picows import WSCloseCode

from ipc import Message
from modules.cloudhub.endpoint.identity import Identity
from modules.cloudhub.protocols.generation import Decoder, Generation
from modules.cloudhub.protocols.served import generation_of
from modules.cloudhub.session.interfaces import Connection, SessionOwner
from modules.cloudhub.session.pending_replies import PendingReplies
from modules.cloudhub.session.write_queue import Frames, WriteQueue, is_state

#: Seconds added to each pause of the rate limit, so that pauses are few.
_RATE_PAUSE: Final = 0.1
# Why reading is paused, as bits. Plain integers: an enumeration would be a large part of the cost
# of a keepalive.
_UPSTREAM: Final = 1  # back-pressure: too many of its messages are in flight
_RATE: Final = 2  # it has exceeded the rate limit
_GRANT: Final = 4  # the leader has not granted the node yet


class Session:
    """A session, with no task and no timer of its own, so that idle edges are cheap."""

    __slots__ = (
        "_connection",
        "_decoder",
        "_loop",
        "_owner",
        "_paid_until",
        "_paused_for",
        "_pending_replies",
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
        "write_paused_at",
    )

    def __init__(self, owner: SessionOwner[Session], identity: Identity, address: str) -> None:
        self._owner = owner
        self._connection: Connection
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
        self._decoder: Decoder
        self.queue = WriteQueue(owner.config.queue_messages, owner.config.queue_bytes)
        """messages to the edge that are not written yet"""
        self._paused_for = 0
        self._paid_until = 0.0  # when all it has sent would have been sent at the rate limit
        self.write_paused_at: float | None = None
        """time of the loop's clock; None while the edge reads what is written"""
        self._pending_replies: PendingReplies | None = None  # most edges are never asked

    @property
    def enrolled(self) -> bool:
        """Whether the edge's protocol generation is known: it has sent something."""
        return self.generation is not None

    @property
    def generation_name(self) -> str:
        """The name of the protocol generation; empty until the session is enrolled."""
        return self.generation.name if self.generation else ""

    @property
    def pending(self) -> bool:
        """Whether the session waits for the leader's grant."""
        return bool(self._paused_for & _GRANT)

    # Connection

    def opened(self, connection: Connection) -> None:
        """Start: the edge's request has been answered."""
        self._connection = connection
        self._owner.opened(self)

    def pause_writing(self) -> None:
        self.write_paused_at = self._loop.time()
        if not self.over:
            self._owner.slow.add(self)

    def resume_writing(self) -> None:
        self.write_paused_at = None
        self._owner.slow.discard(self)
        self._flush()

    # Cloud to edge

    def send(self, message: Message) -> None:
        """Write a message, or queue it while writing is paused.

        An edge whose queue is full is disconnected: the controllers resend its state when it
        reconnects. Raises WireError if the message cannot be encoded; the session goes on.
        """
        if self.over or self.generation is None:
            return
        waits = self.write_paused_at is not None  # as do all messages before it
        if waits:
            message.operation = self.queue.operation_of(message)
        frames = self.generation.encode(message)
        if not waits:
            self._write(frames, text=self.generation.text)
            if is_state(message):
                self._connection.coalesce_acks()
        elif not self.queue.put(message, frames):
            self.abort(
                "queue",
                f"queue full: {len(self.queue)} messages ({self.queue.bytes} bytes), "
                "and the edge does not read",
            )

    def await_answer(self, message: Message) -> None:
        """Record who sent a question, so that the edge's answer can be routed back."""
        self._pending_replies = self._pending_replies or PendingReplies()
        self._pending_replies.add(message, self._loop.time())

    def takes_answer(self, answer: Message) -> bool:
        """Whether a message answers a question; then its reply_to says who has asked."""
        return self._pending_replies is not None and self._pending_replies.take(answer)

    def _flush(self) -> None:
        text = self.generation is not None and self.generation.text
        while self.queue and self.write_paused_at is None and not self.over:
            self._write(self.queue.pop(), text=text)

    def _write(self, frames: Frames, *, text: bool) -> None:
        self._connection.write(frames, text=text)
        self.messages_out += 1
        self._owner.statistics.messages_down += 1

    # Edge to cloud

    def pause_reading(self) -> None:
        self._pause_for(_UPSTREAM)

    def resume_reading(self) -> None:
        self._resume_for(_UPSTREAM)

    def _pause_for(self, reason: int) -> None:
        if not self._paused_for:
            self._connection.pause_reading()
        self._paused_for |= reason

    def _resume_for(self, reason: int) -> None:
        if not self._paused_for & reason:
            return
        self._paused_for &= ~reason
        if not self._paused_for and not self.over:
            # Its keepalives could not be read during the pause.
            self.last_keepalive = self._loop.time()
            self._connection.resume_reading()

    def receive(self, data: bytes | bytearray) -> int:
        """Handle a websocket message; return the number of messages that it completes.

        Raises WireError if it is not of the edge's message form.
        """
        if (suspension := self._owner.suspension) and suspension.passed():
            return 0
        generation = self.generation or self._enroll(generation_of(data))
        messages = self._decoder.feed(data)
        for message in messages:
            self.messages_in += 1
            self._owner.statistics.messages_up += 1
            if message.operation == generation.keepalive:
                self._owner.statistics.keepalives += 1
                self.last_keepalive = self._loop.time()
            elif self.takes_answer(message):
                self._owner.upstream.answer(message, self)
            else:
                self._owner.upstream.receive(message, self)
        return len(messages)

    def charge(self, cost: float) -> None:
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

    def refused(self, reason: str, cause: str = "limit") -> None:
        self.end(WSCloseCode.TRY_AGAIN_LATER, cause, reason)

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
        if self._pending_replies:
            self._pending_replies.expire(now)
        if self.pending:
            due = self.since + config.handshake_timeout
            if now >= due:
                reason = "the leading process of cloudhub does not answer: connect again"
                self.end(WSCloseCode.TRY_AGAIN_LATER, "no grant", reason)
            return min(due, now + config.keepalive_interval)
        # While reading is paused, a keepalive may be waiting to be read.
        due = (now if self._paused_for else self.last_keepalive) + config.keepalive_interval
        if now >= due:
            reason = f"no keepalive for {config.keepalive_interval:g} s"
            self.end(WSCloseCode.POLICY_VIOLATION, "keepalive", reason)
        return due

    def check_write(self, now: float) -> None:
        """Abort the connection if a write has timed out; called for sessions in `slow` only."""
        timeout = self._owner.config.write_timeout
        if self.write_paused_at is not None and now >= self.write_paused_at + timeout:
            self.abort("write", f"a write took longer than {timeout:g} s")

    def end(self, code: WSCloseCode, cause: str, reason: str) -> None:
        """Close the connection, and tell the edge why."""
        if self.over:
            return
        self.ended(cause, reason)
        self._connection.close(code, reason)
        if self._paused_for:
            self._connection.resume_reading()

    def abort(self, cause: str, reason: str) -> None:
        """Close the connection without a close frame, which the edge would not read."""
        if not self.over:
            self.ended(cause, reason)
            self._connection.abort()

    def ended(self, cause: str, reason: str) -> None:
        """Take note that the connection is closed or lost, once."""
        if self.over:
            return
        self.over = True
        self._owner.slow.discard(self)
        self._owner.ended(self, cause, reason)
        if self._pending_replies:
            for answer in self._pending_replies.give_up(self.node):
                self._owner.upstream.answer(answer)


_last_serial = 0


def _new_serial() -> int:
    """Return a serial from the monotonic clock, which is the same in all processes."""
    global _last_serial  # noqa: PLW0603 - unique within the process
    _last_serial = max(_last_serial + 1, time.monotonic_ns())
    return _last_serial
