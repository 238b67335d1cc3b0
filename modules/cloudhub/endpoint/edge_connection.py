"""The connection of one edge: its frames, pauses and close handshake, and nothing of messages.

What the frames say is handled by the session, which knows its connection as a few operations, so
that either can be read and tested without the other.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterable
from typing import Final, Protocol

from picows import WSCloseCode, WSFrame, WSListener, WSMsgType, WSTransport

from modules.cloudhub.endpoint.ack_coalescing import AckCoalescing
from modules.cloudhub.endpoint.frame_reader import FrameReader, TooBig
from modules.cloudhub.endpoint.frame_writer import frames_of
from modules.common.wire import WireError

log = logging.getLogger(__name__)

#: Bytes buffered in this process above which writing is paused; the kernel's buffer is extra.
_WRITE_BUFFER: Final = 64 * 1024
#: What a frame costs in addition to the messages in it: a flood of empty frames is a flood too,
#: while a large message of a Go client, which is fragmented at 4096 bytes, is not.
_FRAME_COST: Final = 1 / 16
#: Bytes of a close reason: a control frame has 125, two of them the code (RFC 6455, 5.5).
_MAX_REASON: Final = 123

# Plain integers: the enumerations of picows would be a large part of the cost of a keepalive.
_CLOSE: Final = WSMsgType.CLOSE.value
_PING: Final = WSMsgType.PING.value


class ConnectionSession(Protocol):
    """A session, as far as its connection is concerned."""

    node: str
    over: bool
    """whether it needs no more frames"""
    write_paused_at: float | None

    def opened(self, connection: EdgeConnection) -> None:
        """Start: the edge's request has been answered."""

    def receive(self, data: bytes | bytearray) -> int:
        """Handle a websocket message, and return how many messages it completes.

        Raises WireError.
        """

    def charge(self, cost: float) -> None:
        """Charge what the edge has sent to its rate limit; the unit is a message."""

    def pause_writing(self) -> None: ...
    def resume_writing(self) -> None: ...

    def end(self, code: WSCloseCode, cause: str, reason: str) -> None:
        """End the session, and close the connection."""

    def ended(self, cause: str, reason: str) -> None:
        """Take note that the connection is closed or lost."""


class ConnectionOwner(Protocol):
    """What a connection needs of the hub."""

    coalescing: AckCoalescing

    def closing(self, connection: EdgeConnection) -> None:
        """Take note that the edge has to complete the close handshake."""

    def closed(self, connection: EdgeConnection) -> None: ...


class EdgeConnection(WSListener):
    """A listener of picows, with no task and no timer of its own, so that idle edges are cheap."""

    __slots__ = ("_frames", "_owner", "_session", "_socket", "_transport")

    def __init__(
        self,
        owner: ConnectionOwner,
        session: ConnectionSession,
        connection: socket.socket,
        max_message_bytes: int,
    ) -> None:
        self._owner = owner
        self._session = session
        self._socket = connection
        self._frames = FrameReader(max_message_bytes)
        self._transport: WSTransport

    # From picows

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._transport = transport
        transport.underlying_transport.set_write_buffer_limits(high=_WRITE_BUFFER)
        self._session.opened(self)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        session = self._session
        kind: int = frame.msg_type  # type: ignore[assignment]  # it is an IntEnum at runtime
        if kind == _CLOSE:
            self._closed_by_edge(frame)
        elif session.over:
            return
        elif kind >= _PING:
            session.charge(1)
            if kind == _PING and session.write_paused_at is None:
                transport.send_pong(frame.get_payload_as_bytes())
        elif frame.rsv1 or frame.rsv2 or frame.rsv3:
            session.end(WSCloseCode.PROTOCOL_ERROR, "frame", "reserved bits are set in a frame")
        else:
            try:
                data = self._frames.add(frame, kind)
                session.charge(_FRAME_COST + (session.receive(data) if data else 0))
            except WireError as error:
                session.end(WSCloseCode.PROTOCOL_ERROR, "frame", str(error))
            except TooBig as error:
                session.end(WSCloseCode.MESSAGE_TOO_BIG, "frame", str(error))
            except Exception:
                log.exception("node %s: cannot handle a message", session.node)
                session.end(WSCloseCode.INTERNAL_ERROR, "internal", "internal error, see the log")

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self._frames.clear()
        handshake = transport.close_handshake
        if handshake is not None and handshake.sent is not None:
            # picows detected a protocol error and has sent the close frame itself.
            reason = handshake.sent.reason or f"closed with {handshake.sent.code}"
            self._session.ended("frame", reason)
        else:
            self._session.ended("lost", "the connection broke")
        self._owner.closed(self)

    def pause_writing(self) -> None:
        self._session.pause_writing()

    def resume_writing(self) -> None:
        self._session.resume_writing()

    # From the session

    def write(self, messages: Iterable[bytes], *, text: bool) -> None:
        """Write websocket messages; `pause_writing` of the session is called at the limit."""
        self._transport.underlying_transport.write(frames_of(messages, text=text))

    def coalesce_acks(self) -> None:
        """Expect only an acknowledgement of what was written, which is not urgent."""
        self._owner.coalescing.expect(self._socket)

    def pause_reading(self) -> None:
        self._transport.underlying_transport.pause_reading()

    def resume_reading(self) -> None:
        self._transport.underlying_transport.resume_reading()

    def close(self, code: WSCloseCode, reason: str) -> None:
        """Send a close frame, and leave the edge some time to answer it."""
        self._frames.clear()
        # Truncated at a character, since the reason has to be UTF-8.
        short = reason.encode()[:_MAX_REASON].decode(errors="ignore")
        self._transport.send_close(code, short.encode())
        self._owner.closing(self)

    def abort(self) -> None:
        """Close the connection without a close frame, which the edge would not read."""
        self._transport.disconnect(graceful=False)

    def _closed_by_edge(self, frame: WSFrame) -> None:
        if not self._session.over:
            self._frames.clear()
            code, reason = frame.get_close_code(), frame.get_close_reason() or ""
            text = f"the edge closed it ({code} {reason}".rstrip() + ")"
            self._session.ended("closed by edge", text)
            self._transport.send_close(code)
        self._transport.disconnect()
