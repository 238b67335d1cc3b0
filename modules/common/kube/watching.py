"""The events of a watch, parsed from the lines of its response."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, Final, Literal, NamedTuple

import msgspec

from modules.common.kube.errors import Unreachable, error_from_status

Object = dict[str, Any]
EventType = Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]


class WatchEvent(NamedTuple):
    """A change of an object; `old` is the previous object in a reflector's store.

    A BOOKMARK, which reflectors do not pass on, has only a version in its object.
    """

    type: EventType
    object: Object
    old: Object | None = None

    @property
    def resource_version(self) -> str:
        """The version to continue the watch from; empty if the object has none."""
        metadata = self.object.get("metadata") if isinstance(self.object, dict) else None
        version = metadata.get("resourceVersion") if isinstance(metadata, dict) else None
        return version if isinstance(version, str) else ""


class _Line(msgspec.Struct):
    type: Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK", "ERROR"]
    object: Any  # the reflector sets aside a value that is not an object


_decode: Final = msgspec.json.Decoder(_Line).decode


class EventReader:
    """An incremental parser of a watch's response; `what` is its name in errors."""

    def __init__(self, what: str, on_event: Callable[[WatchEvent], None]) -> None:
        self._what = what
        self._on_event = on_event
        self._begun: list[bytes] = []

    def feed(self, piece: bytes) -> None:
        """Emit the events that are complete; raises the ApiError of an ERROR event.

        An event is one line of any length: an object may have more than a megabyte.
        """
        *ends, rest = piece.split(b"\n")
        for end in ends:
            line = end
            if self._begun:
                line = b"".join((*self._begun, end))
                self._begun.clear()
            if line:
                self._on_event(self._event(line))
        if rest:
            self._begun.append(rest)

    def _event(self, line: bytes) -> WatchEvent:
        try:
            event = _decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise Unreachable(
                f"a line that is no watch event: {error}", request=self._what
            ) from error
        if event.type == "ERROR":
            raise error_from_status(event.object, request=self._what)
        return WatchEvent(event.type, event.object)


async def iterate(
    follow: Callable[[Callable[[WatchEvent], None]], Awaitable[None]],
) -> AsyncGenerator[WatchEvent]:
    """Yield the events that `follow` passes to its argument, until it returns or raises."""
    events: asyncio.Queue[WatchEvent | None] = asyncio.Queue()

    async def collect() -> None:
        try:
            await follow(events.put_nowait)
        finally:
            events.put_nowait(None)

    collecting = asyncio.create_task(collect())
    try:
        while event := await events.get():
            yield event
        await collecting
    finally:
        collecting.cancel()
        await asyncio.gather(collecting, return_exceptions=True)
