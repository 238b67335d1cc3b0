"""Questions to other replicas: to a node that one of them holds, and about all its nodes.

What is in flight at one replica is bounded, and each question has a deadline: one that hangs stops
nobody.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from http import HTTPStatus
from typing import Any, Final

import msgspec

from ipc import Message
from ipc.errors import NotAMessage
from ipc.message import decode, encode
from modules.cloudhub.questions import NoAnswer
from modules.cloudhub.replicas.metrics import QUESTIONS
from modules.cloudhub.replicas.node_leases import NodeLeases
from modules.cloudhub.replicas.peer_client import PeerClient, Unreachable
from modules.cloudhub.replicas.roster import Peer, Roster

#: Questions in flight to one replica.
MOST_IN_FLIGHT: Final = 128
#: The part of a question's time that the node has: its replica says sooner why there is no answer.
_FOR_NODE: Final = 0.97
#: Seconds for the table of all nodes of a replica.
_TABLE: Final = 15.0
#: Bytes of an answer: of a node, and of the table (100,000 nodes have 30 MB).
_LONGEST_ANSWER: Final = 16 * 1024 * 1024
_LONGEST_TABLE: Final = 128 * 1024 * 1024

Json = dict[str, Any]


class Peers:
    """Asks the other replicas."""

    def __init__(self, roster: Roster, nodes: NodeLeases, client: PeerClient) -> None:
        self._roster = roster
        self._nodes = nodes
        self._client = client
        self._in_flight: Counter[str] = Counter()

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
            self._in_flight -= Counter((replica,))  # which forgets a replica without any
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
        status, body = await self._client.send(
            peer,
            "POST",
            f"/question?seconds={seconds * _FOR_NODE:.3f}",
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
            status, body = await self._client.send(
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
