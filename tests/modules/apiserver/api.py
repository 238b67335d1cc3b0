"""Requests to the API server over real HTTPS."""

from __future__ import annotations

import asyncio
import io
import json
import ssl
from typing import Any, Self

import aiohttp

from modules.apiserver.http.server import Server
from modules.common.pki.certificates import Pki
from tests.support.waiting import DEADLINE


def tls(pki: Pki, *, certificate: str = "admin") -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(pki.ca_cert))
    if certificate:
        directory = pki.directory
        context.load_cert_chain(directory / f"{certificate}.crt", directory / f"{certificate}.key")
    return context


class Api:
    """Requests to the server, over real HTTPS."""

    def __init__(self, server: Server, session: aiohttp.ClientSession) -> None:
        self.server = server
        self.session = session

    async def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        expect: int | None = None,
        content_type: str = "application/json",
        accept: str = "application/json",
    ) -> Any:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        async with self.session.request(
            method,
            self.server.url + path,
            # From memory as a file: aiohttp warns of large bodies that are bytes.
            data=None if body is None else io.BytesIO(data),
            headers={"Content-Type": content_type, "Accept": accept},
        ) as response:
            answer = await response.json(content_type=None)
            if expect is None:
                assert response.ok, answer
            else:
                assert response.status == expect, answer
            return answer

    async def patch(self, path: str, body: Any, kind: str = "merge-patch", **options: Any) -> Any:
        return await self.call(
            "PATCH", path, body, content_type=f"application/{kind}+json", **options
        )

    async def create(self, path: str, **obj: Any) -> Any:
        return await self.call("POST", path, obj, expect=201)

    def watch(self, path: str) -> WatchStream:
        return WatchStream(self.session, self.server.url + path)


class WatchStream:
    """`async with api.watch(…) as watch: await watch.next()`."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._request = session.get(url)

    async def __aenter__(self) -> Self:
        self.response = await self._request.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        self.response.close()

    async def next(self) -> Any:
        """Return the next event; None at the end of the stream."""
        async with asyncio.timeout(DEADLINE):
            line = await self.response.content.readline()
        return json.loads(line) if line else None
