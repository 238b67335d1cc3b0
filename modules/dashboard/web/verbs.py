"""What changes something: the control verbs of the supervisor, dead letters, tokens."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Final
from urllib.parse import quote

from modules.common.http_library import web
from modules.dashboard.admin import Admin
from modules.dashboard.sources.access import Access
from modules.dashboard.web.guard import RequestRefused

log = logging.getLogger(__name__)

_MODULE_VERBS: Final = ("restart", "start", "stop", "enable", "disable")


class Verbs:
    """The handlers of verbs; the guard has checked that who asks has logged in."""

    def __init__(self, admin: Admin, access: Access) -> None:
        self._admin = admin
        self._access = access

    async def on_module(self, request: web.Request) -> web.Response:
        """Answer POST /api/modules/NAME/VERB."""
        verb, name = request.match_info["verb"], request.match_info["name"]
        if verb not in _MODULE_VERBS:
            allowed = ", ".join(_MODULE_VERBS)
            raise RequestRefused(HTTPStatus.NOT_FOUND, f"no verb {verb!r} (allowed: {allowed})")
        return await self._carry_out(request, "POST", f"/modules/{_quoted(name)}/{verb}")

    async def reload(self, request: web.Request) -> web.Response:
        return await self._carry_out(request, "POST", "/reload")

    async def replay(self, request: web.Request) -> web.Response:
        letter = _quoted(request.match_info["id"])
        return await self._carry_out(request, "POST", f"/dead-letters/{letter}/replay")

    async def drop(self, request: web.Request) -> web.Response:
        letter = _quoted(request.match_info["id"])
        return await self._carry_out(request, "DELETE", f"/dead-letters/{letter}")

    async def join(self, request: web.Request) -> web.Response:
        """Have a token made, and answer with the line for a new edge."""
        made = await self._access.join_line()
        log.info("made the token %s for a browser at %s", made["id"], request.remote)
        return web.json_response(made)

    async def revoke(self, request: web.Request) -> web.Response:
        token_id = request.match_info["id"]
        try:
            await self._access.revoke(token_id)
        except (OSError, ValueError) as error:
            raise RequestRefused(HTTPStatus.CONFLICT, str(error)) from error
        log.info("revoked the token %s for a browser at %s", token_id, request.remote)
        return web.json_response({})

    async def _carry_out(self, request: web.Request, method: str, target: str) -> web.Response:
        log.info("%s %s for a browser at %s", method, target, request.remote)
        return web.json_response(await self._admin.send(method, target))


def _quoted(name: str) -> str:
    return quote(name, safe="")
