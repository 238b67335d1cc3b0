"""Questions to other replicas: to a node that one of them holds, and about all its nodes.

HTTP over mutual TLS, one connection for each question, so that none is ever sent twice. What is in
flight at one replica is bounded, and each question has a deadline: one that hangs stops nobody.
"""

from __future__ import annotations

import asyncio
import io
import math
from collections import Counter
from http import HTTPStatus
from types import TracebackType
from typing import Any, Final, Self

import msgspec

from ipc import Message
from ipc.errors import NotAMessage
from ipc.message import decode, encode
from modules.cloudhub.questions import NoAnswer
from modules.cloudhub.replicas.credentials import Credentials
from modules.cloudhub.replicas.metrics import QUESTIONS
from modules.cloudhub.replicas.node_leases import NodeLeases
from modules.cloudhub.replicas.roster import Peer, Roster
from modules.common.http_library import aiohttp

#: Questions in flight to one replica.
MOST_IN_FLIGHT: Final = 128
#: Seconds for the connection, TLS included.
_CONNECT: Final = 5.0
#: Seconds for the table of all nodes of a replica.
_TABLE: Final = 15.0
#: Bytes of an answer: of a node, and of the table (100,000 nodes have 30 MB).
_LONGEST_ANSWER: Final = 16 * 1024 * 1024
_LONGEST_TABLE: Final = 128 * 1024 * 1024

Json = dict[str, Any]


class Unreachable(Exception):
    """A replica gave no answer; `sent` says whether it may have got the question."""

    def __init__(self, reason: str, *, sent: bool) -> None:
        super().__init__(reason)
        self.sent = sent


class Peers:
    """Asks the other replicas; an async context manager."""

    def __init__(self, roster: Roster, nodes: NodeLeases, credentials: Credentials) -> None:
        self._roster = roster
        self._nodes = nodes
        self._tls = credentials.client
        self._in_flight: Counter[str] = Counter()
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(limit=0, force_close=True)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT)
        self._session = aiohttp.ClientSession(connector=connector, timeout=timeout)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._session
        await self._session.close()

    def holder(self, node: str) -> str:
        """Return the other replica that holds a node; empty if this one does, or none."""
        return self._nodes.other_holder(node)

    async def ask(self, replica: str, node: str, question: Message, seconds: float) -> Message:
        """Return the answer of a node that another replica holds.

        It has `seconds` for it. Raises NoAnswer, which says whether the node may have got the
        question; it is not sent again here.
        """
        if self._in_flight[replica] >= MOST_IN_FLIGHT:
            raise NoAnswer(f"{MOST_IN_FLIGHT} questions are in flight to replica {replica} already")
        self._in_flight[replica] += 1
        try:
            answer = await self._ask(replica, node, question, seconds)
        except Unreachable as error:
            QUESTIONS.labels("unreachable").inc()
            unknown = "; whether the node has done it is not known" if error.sent else ""
            text = f"replica {replica}, which holds node {node}, did not answer: {error}{unknown}"
            raise NoAnswer(text) from error
        except NoAnswer:
            QUESTIONS.labels("refused").inc()
            raise
        finally:
            self._in_flight[replica] -= 1
        QUESTIONS.labels("answered").inc()
        return answer

    async def nodes(self) -> list[Json]:
        """Return for each other replica its table of nodes.

        One that does not answer has an `error`, and the nodes that it holds by their Leases.
        """
        return await asyncio.gather(*map(self._table_of, self._roster.peers()))

    async def _ask(self, replica: str, node: str, question: Message, seconds: float) -> Message:
        peer = self._roster.get(replica)
        if peer is None:
            raise NoAnswer(
                f"node {node} is not connected: replica {replica}, which held it last, has stopped"
            )
        status, body = await self._send(
            peer,
            "POST",
            f"/question?seconds={seconds:.3f}",
            most=_LONGEST_ANSWER,
            seconds=seconds,
            body=encode(question),
        )
        if status != HTTPStatus.OK:
            raise NoAnswer(body.decode("utf-8", "replace"))
        try:
            return decode(body)
        except NotAMessage as error:
            raise NoAnswer(f"replica {replica} sent no message as node {node}'s answer") from error

    async def _table_of(self, peer: Peer) -> Json:
        try:
            status, body = await self._send(
                peer, "GET", "/nodes", most=_LONGEST_TABLE, seconds=_TABLE
            )
            if status == HTTPStatus.OK:
                return {"replica": peer.name, "nodes": msgspec.json.decode(body, type=list[Json])}
            error = body.decode("utf-8", "replace")
        except (Unreachable, msgspec.MsgspecError) as failure:
            error = str(failure)
        if silent := self._roster.silent_for(peer):
            error += f"; it has not renewed its Lease for {silent:.0f} s"
        held = [{"node": node, "replica": peer.name} for node in self._nodes.held_by(peer.name)]
        return {"replica": peer.name, "error": error, "nodes": held}

    async def check(self, peer: Peer) -> str:
        """Return why a replica cannot be asked; empty if it can."""
        try:
            status, body = await self._send(peer, "GET", "/healthz", most=1024, seconds=_CONNECT)
        except Unreachable as error:
            return str(error)
        return "" if status == HTTPStatus.OK else body.decode("utf-8", "replace")

    async def _send(
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
        assert self._session
        if not peer.address:
            raise Unreachable("its Lease has no address", sent=False)
        try:
            async with (
                asyncio.timeout(seconds),
                self._session.request(
                    method,
                    f"https://{peer.address}{target}",
                    data=io.BytesIO(body) if body is not None else None,
                    ssl=self._tls,
                    server_hostname=peer.name,
                    allow_redirects=False,
                ) as response,
            ):
                return response.status, await _read(response, most)
        except aiohttp.ClientConnectorError as error:
            reason = f"cannot connect to {peer.address}: {_reason(error)}"
            raise Unreachable(reason, sent=False) from error
        except aiohttp.ConnectionTimeoutError as error:
            reason = f"no connection to {peer.address} within {_CONNECT:g} s"
            raise Unreachable(reason, sent=False) from error
        except TimeoutError as error:
            raise Unreachable(f"no answer within {math.ceil(seconds)} s", sent=True) from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            reason = f"the connection to {peer.address} broke: {_reason(error)}"
            raise Unreachable(reason, sent=True) from error


async def _read(response: aiohttp.ClientResponse, most: int) -> bytes:
    data = bytearray()
    async for piece in response.content.iter_any():
        data += piece
        if len(data) > most:
            raise aiohttp.ClientPayloadError(f"the answer has more than {most} bytes")
    return bytes(data)


def _reason(error: Exception) -> str:
    inner = getattr(error, "os_error", None) or error
    return getattr(inner, "strerror", None) or str(inner) or type(inner).__name__
