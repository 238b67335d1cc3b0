"""The websocket connection of a hollow edge, which reconnects as the Go edge does.

An edge (edge/pkg/edgehub, viaduct/pkg/conn/ws.go) does not monitor its connection: a write fails,
and then it closes, waits two heartbeats and reconnects. A failed dial is retried after 5 s, with
a pause after every five: a minute in v1.1, two heartbeats in v1.23. Messages that the edge's
modules send meanwhile are queued in a channel of 1024; the message whose write failed is lost.
An edge of v1.23 limits the rate of what it sends, and ends with an empty message, which beehive's
channel yields when it is closed.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from picows import (
    WSCloseCode,
    WSError,
    WSFrame,
    WSHandshakeError,
    WSListener,
    WSMsgType,
    WSTransport,
)

from ipc import Message
from modules.common.wire import WireError, generations, json_form, packed
from modules.hollow.dial import dial, why_unreachable
from modules.hollow.events import Emit
from modules.hollow.timing import Timing

DIALS_BEFORE_PAUSE: Final = 5
WAITING_MESSAGES: Final = 1024  # beehive's channel size
READ_BUFFER: Final = 4096  # bytes; initial size, picows doubles a full buffer

#: The source of keepalives is the module edgehub's name, in both generations.
_KEEPALIVE: Final = ("websocket", "resource", "keepalive", "node", "ping")
_DATA: Final = (WSMsgType.BINARY, WSMsgType.TEXT, WSMsgType.CONTINUATION)


@dataclass(frozen=True, slots=True)
class Form:
    """How a generation of edges writes and reads messages."""

    encode: Callable[[Message], tuple[bytes, ...]]
    decoder: Callable[[], Any]
    frame: WSMsgType
    limited: bool
    """Whether edges limit the rate of their messages."""


FORMS: Final = {
    generations.V1_1: Form(packed.encode, packed.Decoder, WSMsgType.BINARY, limited=False),
    generations.V1_23: Form(json_form.encode, json_form.Decoder, WSMsgType.TEXT, limited=True),
}


class Link:
    """Keeps one edge connected for as long as `run` runs."""

    def __init__(
        self,
        url: str,
        headers: dict[str, str],
        tls: ssl.SSLContext | None,
        timing: Timing,
        *,
        form: Form = FORMS[generations.V1_1],
        on_up: Callable[[], None],
        on_message: Callable[[Message], None],
        emit: Emit,
    ) -> None:
        self.url = url
        self.connects = 0
        self.sent = 0
        self._headers = headers
        self.tls = tls
        self._timing = timing
        self.form = form
        self._limit = RateLimit(timing.message_rate, timing.message_burst) if form.limited else None
        self._on_up = on_up
        self._on_message = on_message
        self._emit = emit
        self._transport: WSTransport | None = None
        self._lost = asyncio.Event()  # the connection is lost, and the edge has noticed
        self._outbox: deque[Message] = deque(maxlen=WAITING_MESSAGES)
        self._keepalive: asyncio.TimerHandle | None = None
        self._drain: asyncio.TimerHandle | None = None

    @property
    def connected(self) -> bool:
        """Whether the connection is up, even if the edge has not noticed its loss."""
        return self._transport is not None and not self._transport.is_disconnected

    @property
    def up(self) -> bool:
        """Whether the edge takes itself for connected."""
        return self._transport is not None

    async def run(self) -> None:
        """Connect, and reconnect when the connection is lost, until cancelled."""
        failures = 0
        try:
            while True:
                if await self._dial():
                    failures = 0
                    await self._lost.wait()
                    await asyncio.sleep(2 * self._timing.heartbeat)
                else:
                    failures += 1
                    await asyncio.sleep(self._timing.dial_retry)
                    if failures % DIALS_BEFORE_PAUSE == 0:
                        await asyncio.sleep(self._dial_pause)
        finally:
            if self.form.limited and self.connected:
                self._write(Message("", "", 0, False, "", "", "", ""))
            self._hang_up()

    def send(self, message: Message) -> None:
        """Write a message, or queue it until the next connection or for the rate limit."""
        waits = self._limit is not None and (self._outbox or not self._limit.take())
        if self._transport is None or waits:
            self._outbox.append(message)
            self._schedule_drain()
        else:
            self._write(message)

    def use(self, tls: ssl.SSLContext) -> None:
        """Connect with another certificate: hang up, and dial again after two heartbeats."""
        self.tls = tls
        if self._transport is not None:
            self._notice()

    def drop(self) -> None:
        """Abort the connection without a close frame, as a broken network does."""
        if self._transport is not None:
            self._transport.underlying_transport.abort()

    async def _dial(self) -> bool:
        try:
            transport = await dial(
                lambda: _Connection(self),
                self.url,
                ssl_context=self.tls,
                extra_headers=self._headers,
                websocket_handshake_timeout=self._timing.handshake,
                max_frame_size=packed.DEFAULT_MAX_PAYLOAD,
                read_buffer_init_size=READ_BUFFER,
                max_redirects=0,
                logger_name="hollow",
            )
        except WSHandshakeError as error:
            self._emit("refused", self.url, _refusal(error))
            return False
        except (OSError, WSError, TimeoutError) as error:
            self._emit("unreachable", self.url, why_unreachable(error))
            return False
        self._lost.clear()
        self._transport = transport
        self.connects += 1
        self._emit("connected", self.url, "")
        self._beat()
        self._on_up()
        self._flush()
        return True

    @property
    def _dial_pause(self) -> float:
        return 2 * self._timing.heartbeat if self.form.limited else self._timing.dial_pause

    def _write(self, message: Message) -> None:
        assert self._transport is not None
        if self._transport.is_disconnected:
            self._notice()
            return
        for part in self.form.encode(message):
            self._transport.send(self.form.frame, part)
        self.sent += 1

    def _flush(self) -> None:
        """Write what is queued, as fast as the rate limit allows."""
        self._drain = None
        while self._outbox and self._transport is not None:
            if self._limit and not self._limit.take():
                self._schedule_drain()
                return
            self._write(self._outbox.popleft())

    def _schedule_drain(self) -> None:
        if self._limit and self._drain is None and self._transport is not None:
            loop = asyncio.get_running_loop()
            self._drain = loop.call_later(self._limit.wait(), self._flush)

    def _beat(self) -> None:
        self._keepalive = asyncio.get_running_loop().call_later(self._timing.heartbeat, self._beat)
        if self._transport is not None:
            self._write(Message.build(*_KEEPALIVE))  # past queue and rate limit, as in Go

    def _notice(self) -> None:
        self._emit("lost", self.url, f"reconnecting in {2 * self._timing.heartbeat:g} s")
        self._hang_up()
        self._lost.set()

    def _hang_up(self) -> None:
        for timer in (self._keepalive, self._drain):
            if timer is not None:
                timer.cancel()
        self._drain = None
        if self._transport is not None:
            if not self._transport.is_disconnected:
                self._transport.send_close(WSCloseCode.OK)
                self._transport.disconnect()
            self._transport = None

    def _closed(self, transport: WSTransport) -> None:
        """Emit that the transport is closed; the edge itself notices at its next write."""
        if transport is not self._transport:
            return
        received = transport.close_handshake.recv if transport.close_handshake else None
        detail = f"{received.code} {received.reason}".strip() if received else "without a close"
        self._emit("disconnected", self.url, detail)

    def _refuse(self, transport: WSTransport, error: WireError) -> None:
        self._emit("bad frame", self.url, str(error))
        transport.send_close(WSCloseCode.PROTOCOL_ERROR)
        transport.disconnect()


class RateLimit:
    """A token bucket of `rate` messages a second and `burst` at once (client-go's flowcontrol)."""

    def __init__(self, rate: float, burst: int) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = float(burst)
        self._at = time.monotonic()

    def take(self) -> bool:
        """Take a token, if there is one."""
        now = time.monotonic()
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate)
        self._at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def wait(self) -> float:
        """Return the seconds until the next token."""
        return max(0.0, (1 - self._tokens) / self._rate)


class _Connection(WSListener):
    """One websocket connection: frames in, messages out."""

    def __init__(self, link: Link) -> None:
        super().__init__()
        self._link = link
        self._decoder = link.form.decoder()

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type in _DATA:
            try:
                messages = self._decoder.feed(frame.get_payload_as_bytes())
            except WireError as error:
                self._link._refuse(transport, error)
                return
            for message in messages:
                self._link._on_message(message)
        elif frame.msg_type == WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code())
            transport.disconnect()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self._link._closed(transport)


def _refusal(error: WSHandshakeError) -> str:
    """Return why the server refused the upgrade: its HTTP status and body."""
    if error.response is None:
        return str(error)
    said = (error.raw_body or b"").decode(errors="replace").strip()
    return f"HTTP {int(error.response.status)} {said}".strip()
