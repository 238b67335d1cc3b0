"""Requests to other replicas: HTTP over mutual TLS, a connection for each.

So none meets a connection that was closed while idle, of which nobody knows whether it arrived.
"""

from __future__ import annotations

import asyncio
import io
import math
from http import HTTPStatus
from typing import Final

from modules.cloudhub.replicas.credentials import Credentials
from modules.cloudhub.replicas.roster import Peer
from modules.common.connection_failures import why
from modules.common.http_library import aiohttp

#: Seconds for the connection, TLS included.
CONNECT: Final = 5.0
_TIMEOUT: Final = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT)


class Unreachable(Exception):
    """A replica gave no answer; `sent` says whether it may have got the request."""

    def __init__(self, reason: str, *, sent: bool) -> None:
        super().__init__(reason)
        self.sent = sent


class PeerClient:
    """A client of all other replicas."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials

    async def check(self, peer: Peer) -> str:
        """Return why a replica cannot be asked; empty if it can."""
        try:
            status, body = await self.send(peer, "GET", "/healthz", most=1024, seconds=CONNECT)
        except Unreachable as error:
            return str(error)
        return "" if status == HTTPStatus.OK else body.decode("utf-8", "replace")

    async def send(
        self,
        peer: Peer,
        method: str,
        target: str,
        *,
        most: int,
        seconds: float,
        body: bytes | None = None,
    ) -> tuple[int, bytes]:
        """Return status and body of an answer of up to `most` bytes; raises Unreachable."""
        if not peer.address:
            raise Unreachable("its Lease has no address", sent=False)
        try:
            async with (
                asyncio.timeout(seconds),
                aiohttp.ClientSession(timeout=_TIMEOUT) as session,
                session.request(
                    method,
                    f"https://{peer.address}{target}",
                    data=io.BytesIO(body) if body is not None else None,
                    ssl=self._credentials.client,
                    server_hostname=peer.name,
                    allow_redirects=False,
                ) as response,
            ):
                return response.status, await _read(response, most)
        except (aiohttp.ClientConnectorError, aiohttp.InvalidURL) as error:
            reason = f"cannot connect to {peer.address}: {why(error)}"
            raise Unreachable(reason, sent=False) from error
        except aiohttp.ConnectionTimeoutError as error:
            reason = f"no connection to {peer.address} within {CONNECT:g} s"
            raise Unreachable(reason, sent=False) from error
        except TimeoutError as error:
            raise Unreachable(f"no answer within {math.ceil(seconds)} s", sent=True) from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            reason = f"the connection to {peer.address} broke: {why(error)}"
            raise Unreachable(reason, sent=True) from error


async def _read(response: aiohttp.ClientResponse, most: int) -> bytes:
    data = bytearray()
    async for piece in response.content.iter_any():
        data += piece
        if len(data) > most:
            raise aiohttp.ClientPayloadError(f"the answer has more than {most} bytes")
    return bytes(data)
