"""The page's own files: HTML, styles and scripts, read once at the start."""

from __future__ import annotations

import hashlib
from http import HTTPStatus
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final, NamedTuple

from modules.common.http_library import hdrs, web

_TYPES: Final = {
    "html": "text/html",
    "css": "text/css",
    "js": "text/javascript",
    "svg": "image/svg+xml",
}


class _Asset(NamedTuple):
    content: bytes
    type: str
    tag: str


class Assets:
    """All files below `assets/`, by path: a request can name no other file."""

    def __init__(self) -> None:
        self._assets = dict(_read(files("modules.dashboard") / "assets", ""))

    async def file(self, request: web.Request) -> web.Response:
        """Answer GET /assets/PATH."""
        return self._answer(request, request.match_info["path"])

    async def page(self, request: web.Request) -> web.Response:
        """Answer with the one page, whose script shows what the address names."""
        return self._answer(request, "index.html")

    async def no_page(self, request: web.Request) -> web.Response:
        """Answer with the page, whose script says that there is none at this address."""
        answer = self._answer(request, "index.html")
        answer.set_status(HTTPStatus.NOT_FOUND)
        return answer

    async def login(self, request: web.Request) -> web.Response:
        return self._answer(request, "login.html")

    def _answer(self, request: web.Request, path: str) -> web.Response:
        asset = self._assets.get(path)
        if asset is None:
            raise web.HTTPNotFound
        # A browser asks each time whether its copy is the present one: an upgrade is seen at once.
        headers = {hdrs.ETAG: asset.tag, hdrs.CACHE_CONTROL: "no-cache"}
        if request.headers.get(hdrs.IF_NONE_MATCH) == asset.tag:
            return web.Response(status=304, headers=headers)
        return web.Response(
            body=asset.content, content_type=asset.type, charset="utf-8", headers=headers
        )


def _read(directory: Traversable, prefix: str) -> list[tuple[str, _Asset]]:
    found: list[tuple[str, _Asset]] = []
    for entry in directory.iterdir():
        kind = _TYPES.get(entry.name.rpartition(".")[2])
        if entry.is_dir():
            found += _read(entry, f"{prefix}{entry.name}/")
        elif kind:
            content = entry.read_bytes()
            tag = f'"{hashlib.sha256(content).hexdigest()[:20]}"'
            found.append((f"{prefix}{entry.name}", _Asset(content, kind, tag)))
    return found
