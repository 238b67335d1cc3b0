"""Assembles websocket messages from their frames (RFC 6455, 5.4)."""

from __future__ import annotations

from typing import Final

from picows import WSFrame, WSMsgType

from modules.common.wire import WireError

_CONTINUATION: Final = WSMsgType.CONTINUATION.value


class TooBig(Exception):
    """A fragmented message exceeds the largest message size."""


class FrameReader:
    """The assembler of one connection; at most one message is incomplete."""

    __slots__ = ("_most", "_pieces")

    def __init__(self, most: int) -> None:
        self._most = most
        self._pieces: bytearray | None = None

    def add(self, frame: WSFrame, kind: int) -> bytes | bytearray | None:
        """Add a frame of opcode `kind`; return the message that it completes, if it does.

        Raises WireError for fragments out of order, and TooBig.
        """
        if (kind == _CONTINUATION) != (self._pieces is not None):
            raise WireError("fragments of websocket messages out of order")
        if self._pieces is None:
            if frame.fin:
                whole: bytes = frame.get_payload_as_bytes()
                return whole
            self._pieces = bytearray()
        self._pieces += frame.get_payload_as_memoryview()
        if len(self._pieces) > self._most:
            raise TooBig(f"a websocket message of more than {self._most} bytes")
        if not frame.fin:
            return None
        message, self._pieces = self._pieces, None
        return message

    def clear(self) -> None:
        self._pieces = None
