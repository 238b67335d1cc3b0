"""What every request has to pass before a handler sees it, and the headers of every answer."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Final

from modules.common.http_library import Handler, Middleware, hdrs, web
from modules.dashboard.access.admin_token import AdminToken
from modules.dashboard.access.hosts import Hosts, same_origin
from modules.dashboard.access.sessions import Sessions, is_csrf_token
from modules.dashboard.admin import AdminRefused, AdminUnavailable

CSRF_HEADER: Final = "X-CSRF-Token"
LOGIN: Final = "/login"

#: Whether a request comes from somebody who has logged in, and the cookie of the session.
TRUSTED: Final = web.RequestKey("trusted", bool)
COOKIE: Final = web.RequestKey("cookie", str)

#: What nobody sees without a login, though the page may be open to read: what modules wrote, the
#: content of messages, and what lets edges join.
_CONFIDENTIAL: Final = ("/api/crashes", "/api/dead-letters", "/api/tokens", "/api/join")

_SAFE: Final = frozenset({"GET", "HEAD"})
_HEADERS: Final = {
    # Scripts and styles are files of ours; nothing inline, nothing from other hosts, no frames.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}

log = logging.getLogger(__name__)


class Guard:
    """The checks of a request: its host, its origin, and who sends it."""

    def __init__(
        self,
        hosts: Hosts,
        sessions: Sessions,
        token: AdminToken,
        cookie: str,
        *,
        open_to_read: bool,
    ) -> None:
        self._hosts = hosts
        self._sessions = sessions
        self._token = token
        self._cookie = cookie
        self._open_to_read = open_to_read

    def check(self, request: web.Request) -> None:
        """Refuse a request with an HTTP exception, or note who sends it."""
        if not self._hosts.allow(request.host):
            raise RequestRefused(
                HTTPStatus.MISDIRECTED_REQUEST,
                f"this page is not served as {request.host!r}; use the address that `cloudcore "
                "dashboard` prints, or add the name to modules.dashboard.names",
            )
        cookie = request.cookies.get(self._cookie, "")
        by_cookie = bool(cookie) and self._sessions.has(cookie)
        by_token = self._has_token(request)
        request[COOKIE] = cookie if by_cookie else ""
        request[TRUSTED] = by_cookie or by_token
        self._check_origin(request, by_token=by_token)
        if _is_public(request):
            return
        if request.method in _SAFE:
            may_look = self._open_to_read and not request.path.startswith(_CONFIDENTIAL)
            if not (request[TRUSTED] or may_look):
                raise _not_logged_in(request)
            return
        if not request[TRUSTED]:
            raise _not_logged_in(request)
        if not by_token and not is_csrf_token(request.headers.get(CSRF_HEADER, ""), cookie):
            raise RequestRefused(
                HTTPStatus.FORBIDDEN, f"the header {CSRF_HEADER} is not this session's"
            )

    def _has_token(self, request: web.Request) -> bool:
        scheme, _, shown = request.headers.get(hdrs.AUTHORIZATION, "").strip().partition(" ")
        return scheme.lower() == "bearer" and self._token.matches(shown)

    def _check_origin(self, request: web.Request, *, by_token: bool) -> None:
        """Refuse what a page of another site has sent; a program with the token has no origin."""
        origin = request.headers.get(hdrs.ORIGIN)
        if origin is None and (request.method in _SAFE or by_token):
            return
        if origin is None or not same_origin(origin, request.host):
            raise RequestRefused(
                HTTPStatus.FORBIDDEN, f"cannot take a request of the origin {origin or 'unknown'}"
            )


class RequestRefused(Exception):
    """A request that is answered with an error, for people."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


def guarding(guard: Guard) -> Middleware:
    """Return the middleware that checks requests, words errors, and sets the headers."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            guard.check(request)
            return await handler(request)
        except web.HTTPRedirection:
            raise
        except web.HTTPException as error:
            return _error(error.status, error.reason)
        except (RequestRefused, AdminRefused) as error:
            return _error(error.status, str(error))
        except AdminUnavailable as error:
            return _error(HTTPStatus.BAD_GATEWAY, str(error))
        except Exception:
            log.exception("a bug in the dashboard: %s %s failed", request.method, request.path)
            return _error(HTTPStatus.INTERNAL_SERVER_ERROR, "a bug in the dashboard; see its log")

    return middleware


async def add_headers(_: web.Request, answer: web.StreamResponse) -> None:
    """Set the headers of every answer, streams and errors included."""
    for name, value in _HEADERS.items():
        answer.headers[name] = value
    answer.headers.setdefault(hdrs.CACHE_CONTROL, "no-store")
    answer.headers[hdrs.SERVER] = "cloudcore"


def _is_public(request: web.Request) -> bool:
    """Whether somebody without a login needs it: the login page, with its assets."""
    path = request.path
    return path in {LOGIN, "/api/login"} or path.startswith("/assets/")


def _not_logged_in(request: web.Request) -> Exception:
    if request.path.startswith("/api/"):
        text = "not logged in; `cloudcore dashboard` prints a link that logs a browser in"
        return RequestRefused(HTTPStatus.UNAUTHORIZED, text)
    return web.HTTPSeeOther(LOGIN)


def _error(status: int, text: str) -> web.Response:
    return web.json_response({"error": text}, status=status)
