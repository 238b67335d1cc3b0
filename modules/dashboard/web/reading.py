"""What pages read once, when they open."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import msgspec
from aiohttp import web

from modules.dashboard.admin import Admin
from modules.dashboard.history import History
from modules.dashboard.web.guard import Refused


class Reading:
    """The handlers of documents."""

    def __init__(self, admin: Admin, history: History) -> None:
        self._admin = admin
        self._history = history

    async def history(self, request: web.Request) -> web.Response:
        """Answer with the samples of the last hour, or of the last day."""
        span = request.query.get("span", "hour")
        if span not in {"hour", "day"}:
            raise Refused(HTTPStatus.BAD_REQUEST, f"span={span!r} (allowed: hour, day)")
        return document(self._history.columns(span))

    async def crashes(self, _: web.Request) -> web.Response:
        reports = await self._admin.get("/crashes")
        fields = ("id", "module", "at", "state", "reason", "signal", "code", "oom_killed")
        return document([{name: each[name] for name in fields} for each in reversed(reports)])

    async def crash(self, request: web.Request) -> web.Response:
        return document(
            await self._admin.get(f"/crashes/{quote(request.match_info['id'], safe='')}")
        )


def document(content: Any) -> web.Response:
    return web.Response(body=msgspec.json.encode(content), content_type="application/json")
