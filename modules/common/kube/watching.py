"""The events of a watch, read from the lines of its answer."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator
from typing import Any, Final, Literal, NamedTuple

import msgspec

from modules.common.kube.errors import Unreachable, error_from_status

Object = dict[str, Any]
EventType = Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]


class WatchEvent(NamedTuple):
    """A change of an object; `old` is what a reflector had in its store before it.

    A BOOKMARK, which only a bare watch shows, has nothing in its object but the version.
    """

    type: EventType
    object: Object
    old: Object | None = None

    @property
    def resource_version(self) -> str:
        version: str = self.object["metadata"]["resourceVersion"]
        return version


class _Line(msgspec.Struct):
    type: Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK", "ERROR"]
    object: Object


_decode: Final = msgspec.json.Decoder(_Line).decode


async def read_events(chunks: AsyncIterable[bytes], what: str) -> AsyncIterator[WatchEvent]:
    """Read events until the server ends the watch; an ERROR event is raised as its ApiError."""
    async for line in _lines(chunks):
        try:
            event = _decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise Unreachable(f"{what}: a line that is no watch event: {error}") from error
        if event.type == "ERROR":
            raise error_from_status(event.object, request=what)
        yield WatchEvent(event.type, event.object)


async def _lines(chunks: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    """Split into lines, of any length: an object may have more than a megabyte."""
    begun: list[bytes] = []
    async for chunk in chunks:
        *ends, rest = chunk.split(b"\n")
        for end in ends:
            begun.append(end)
            line = b"".join(begun)
            begun.clear()
            if line:
                yield line
        if rest:
            begun.append(rest)
