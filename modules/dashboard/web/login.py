"""Logging in and out."""

from __future__ import annotations

import asyncio
import logging
from http import HTTPStatus
from typing import Any, Final

import msgspec

from modules.common.http_library import hdrs, web
from modules.dashboard.access.admin_token import AdminToken
from modules.dashboard.access.attempts import Attempts
from modules.dashboard.access.links import LoginLinks
from modules.dashboard.access.sessions import Sessions, csrf_token
from modules.dashboard.web.guard import COOKIE, TRUSTED, RequestRefused

log = logging.getLogger(__name__)

#: Bytes of a body at most, and the seconds in which it has to come.
MOST_BYTES: Final = 4096
_BODY_TIMEOUT: Final = 10.0


class Proof(msgspec.Struct, forbid_unknown_fields=True):
    """What somebody shows to log in: the code of a link, or the admin token."""

    code: str = ""
    token: str = ""


class Login:
    """The handlers of logging in and out."""

    def __init__(
        self, links: LoginLinks, sessions: Sessions, token: AdminToken, cookie: str
    ) -> None:
        self._links = links
        self._sessions = sessions
        self._token = token
        self._cookie = cookie
        self._attempts = Attempts()

    async def log_in(self, request: web.Request) -> web.Response:
        """Set the session's cookie for who shows a link's code or the admin token."""
        if self._attempts.exhausted:
            raise RequestRefused(
                HTTPStatus.TOO_MANY_REQUESTS, "too many failed logins; try again in a minute"
            )
        proof = await body(request, Proof)
        if not (self._links.use(proof.code) if proof.code else self._token.matches(proof.token)):
            self._attempts.failed()
            log.warning("a login from %s failed", request.remote)
            raise RequestRefused(
                HTTPStatus.FORBIDDEN,
                "the link was used already or is older than 10 min; `cloudcore dashboard` prints "
                "a new one"
                if proof.code
                else "this is not the token in the file of [admin] token_file",
            )
        log.info("a browser at %s has logged in", request.remote)
        answer = web.json_response({})
        answer.set_cookie(
            self._cookie,
            self._sessions.begin(),
            max_age=int(self._sessions.seconds),
            httponly=True,
            samesite="Strict",
            secure=request.headers.get(hdrs.ORIGIN, "").startswith("https://"),
        )
        return answer

    async def log_out(self, request: web.Request) -> web.Response:
        self._sessions.end(request[COOKIE])
        answer = web.json_response({})
        answer.del_cookie(self._cookie, httponly=True, samesite="Strict")
        return answer

    async def session(self, request: web.Request) -> web.Response:
        """Tell the page whether it may control, and what it sends with a verb."""
        cookie = request[COOKIE]
        document: dict[str, Any] = {
            "trusted": request[TRUSTED],
            "csrf": csrf_token(cookie) if cookie else "",
        }
        return web.json_response(document)


async def body(request: web.Request, shape: type[Any]) -> Any:
    """Return the decoded body of a request; raises RequestRefused."""
    if request.content_type != "application/json":
        raise RequestRefused(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "the body has to be application/json"
        )
    try:
        async with asyncio.timeout(_BODY_TIMEOUT):
            content = await request.read()  # up to client_max_size
    except TimeoutError as error:
        raise RequestRefused(HTTPStatus.REQUEST_TIMEOUT, "the body has not come") from error
    try:
        return msgspec.json.decode(content or b"{}", type=shape)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise RequestRefused(HTTPStatus.BAD_REQUEST, f"cannot read the body: {error}") from error
