"""What pages read when they open, and some again every few seconds."""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote

import msgspec

from ipc import DeadLetter, NotAMessage
from modules.common.http_library import web
from modules.dashboard.admin import Admin
from modules.dashboard.history import History
from modules.dashboard.sources.access import Access
from modules.dashboard.sources.devices import Device, Devices, device_document
from modules.dashboard.sources.one_edge import NotKnown, OneEdge
from modules.dashboard.web.guard import RequestRefused

#: Devices and reports of one answer at most, and characters of a message's content.
_MOST: Final = 500
_LONGEST: Final = 65536

_OF_REPORT: Final = ("id", "module", "at", "state", "reason", "signal", "code", "oom_killed")
_OF_LETTER: Final = (
    *("id", "channel", "at", "deliveries", "reason", "message_id", "source", "group"),
    *("operation", "resource", "size"),
)


class Sources:
    """Where documents come from."""

    def __init__(self, edge: OneEdge, devices: Devices, access: Access) -> None:
        self.edge = edge
        self.devices = devices
        self.access = access


class Reading:
    """The handlers of documents."""

    def __init__(self, admin: Admin, history: History, sources: Sources) -> None:
        self._admin = admin
        self._history = history
        self._sources = sources

    async def history(self, request: web.Request) -> web.Response:
        """Answer with the samples of the last hour, or of the last day."""
        span = request.query.get("span", "hour")
        if span not in {"hour", "day"}:
            raise RequestRefused(HTTPStatus.BAD_REQUEST, f"span={span!r} (allowed: hour, day)")
        return document(self._history.columns(span))

    async def edge(self, request: web.Request) -> web.Response:
        """Answer with everything that is known of one edge."""
        name = request.match_info["name"]
        try:
            found = await self._sources.edge.read(name)
        except NotKnown as error:
            raise RequestRefused(HTTPStatus.SERVICE_UNAVAILABLE, str(error)) from error
        if found is None:
            raise RequestRefused(HTTPStatus.NOT_FOUND, f"there is no edge {name!r}")
        return document(found)

    async def devices(self, request: web.Request) -> web.Response:
        """Answer with the devices that match words; `only=not-well` leaves out the others."""
        words = request.query.get("search", "").lower().split()
        only = request.query.get("only", "")
        if only not in {"", "not-well"}:
            raise RequestRefused(HTTPStatus.BAD_REQUEST, f"only={only!r} (allowed: not-well)")
        devices = await self._sources.devices.read()
        found = [each for each in devices if not (only and each.well) and _matches(each, words)]
        return document(
            {
                "total": len(devices),
                "found": len(found),
                "devices": [device_document(each) for each in found[:_MOST]],
                "fault": self._sources.devices.fault,
            }
        )

    async def crashes(self, _: web.Request) -> web.Response:
        """Answer with the crash reports, newest first, without stacks and output."""
        return document(newest(await self._admin.get("/crashes"), _OF_REPORT))

    async def crash(self, request: web.Request) -> web.Response:
        return document(await self._admin.get(f"/crashes/{_name(request)}"))

    async def dead_letters(self, _: web.Request) -> web.Response:
        """Answer with the dead letters, newest first, without their content."""
        return document(newest(await self._admin.get("/dead-letters"), _OF_LETTER))

    async def dead_letter(self, request: web.Request) -> web.Response:
        """Answer with one dead letter and its content."""
        found = await self._admin.get(f"/dead-letters/{_name(request)}")
        letter = {name: found[name] for name in _OF_LETTER}
        return document(letter | {"content": _content(found)})

    async def certificates(self, _: web.Request) -> web.Response:
        return await _of_files(self._sources.access.certificates())

    async def tokens(self, _: web.Request) -> web.Response:
        return await _of_files(self._sources.access.tokens())


def newest(found: list[dict[str, Any]], fields: Iterable[str]) -> dict[str, Any]:
    """Return how many there are, and these fields of the newest ones."""
    shown = [{name: each[name] for name in fields} for each in found[-_MOST:]]
    return {"total": len(found), "newest": shown[::-1]}


async def _of_files(reading: Any) -> web.Response:
    try:
        return document(await reading)
    except (OSError, ValueError) as error:
        raise RequestRefused(HTTPStatus.CONFLICT, str(error)) from error


def _content(letter: dict[str, Any]) -> str:
    """Return the content of a dead letter's message as text."""
    try:
        content = msgspec.convert(letter, DeadLetter).message().content
        text = msgspec.json.format(msgspec.json.encode(content)).decode("utf-8", "replace")
    except (NotAMessage, TypeError, ValueError) as error:
        text = f"the message cannot be decoded: {error}"
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}\n... ({len(text)} characters)"


def _matches(device: Device, words: list[str]) -> bool:
    text = f"{device.namespace}/{device.name} {device.node} {device.model} {device.protocol}"
    return all(word in text.lower() for word in words)


def _name(request: web.Request) -> str:
    return quote(request.match_info["id"], safe="")


def document(content: Any) -> web.Response:
    return web.Response(body=msgspec.json.encode(content), content_type="application/json")
