"""The table of all routes."""

from __future__ import annotations

from typing import Final, NamedTuple

from modules.common.http_library import web
from modules.dashboard.web.assets import Assets
from modules.dashboard.web.guard import Guard, add_headers, guarding
from modules.dashboard.web.login import MOST_BYTES, Login
from modules.dashboard.web.reading import Reading
from modules.dashboard.web.stream import Live
from modules.dashboard.web.verbs import Verbs

#: The addresses at which the page is served; its script shows what they name.
PAGES: Final = (
    *("/", "/modules", "/edges", "/edges/{name}", "/devices", "/events"),
    *("/crashes", "/crashes/{id}", "/dead-letters", "/dead-letters/{id}", "/logs", "/access"),
)


class Handlers(NamedTuple):
    """Everything that answers requests."""

    login: Login
    live: Live
    reading: Reading
    verbs: Verbs


def application(guard: Guard, handlers: Handlers) -> web.Application:
    """Return the application: all routes, each behind the guard."""
    app = web.Application(middlewares=[guarding(guard)], client_max_size=MOST_BYTES)
    app.on_response_prepare.append(add_headers)
    assets = Assets()
    login, live, reading, verbs = handlers
    app.add_routes([web.get(path, assets.page) for path in PAGES])
    app.add_routes(
        [
            web.get("/login", assets.login),
            web.get("/assets/{path:.+}", assets.file),
            web.post("/api/login", login.log_in),
            web.post("/api/logout", login.log_out),
            web.get("/api/session", login.session),
            web.get("/api/live", live.stream),
            web.get("/api/history", reading.history),
            web.get("/api/edges/{name}", reading.edge),
            web.get("/api/devices", reading.devices),
            web.get("/api/crashes", reading.crashes),
            web.get("/api/crashes/{id}", reading.crash),
            web.get("/api/dead-letters", reading.dead_letters),
            web.get("/api/dead-letters/{id}", reading.dead_letter),
            web.get("/api/certificates", reading.certificates),
            web.get("/api/tokens", reading.tokens),
            web.post("/api/modules/{name}/{verb}", verbs.on_module),
            web.post("/api/reload", verbs.reload),
            web.post("/api/dead-letters/{id}/replay", verbs.replay),
            web.post("/api/dead-letters/{id}/drop", verbs.drop),
            web.post("/api/join", verbs.join),
            web.post("/api/tokens/{id}/revoke", verbs.revoke),
            web.get("/{path:(?!api/|assets/).*}", assets.no_page),
        ]
    )
    return app
