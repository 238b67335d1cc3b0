"""The requests of edges, by type and operation: the queue of each, and what handles it.

The table is that of dispatchMessage in cloud/pkg/edgecontroller/controller/upstream.go. A queue has
workers of its own (config.py), so that leases and node status never wait behind other requests.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from ipc import Message
from modules.edgecontroller.config import Workers
from modules.edgecontroller.messages import (
    AUTHORITY,
    CERTIFICATESIGNINGREQUEST,
    DELETE,
    EVENT,
    INSERT,
    LEASE,
    NODE,
    NODE_PATCH,
    NODE_STATUS,
    PATCH,
    POD,
    POD_PATCH,
    POD_STATUS,
    QUERY,
    TOKEN,
    UPDATE,
)
from modules.edgecontroller.upstream.calls import Calls
from modules.edgecontroller.upstream.certificates import CertificateRequester
from modules.edgecontroller.upstream.content import BadContent
from modules.edgecontroller.upstream.events import EventWriter
from modules.edgecontroller.upstream.leases import LeaseKeeper
from modules.edgecontroller.upstream.message_queue import Handler, MessageQueue
from modules.edgecontroller.upstream.nodes import NodeWriter
from modules.edgecontroller.upstream.pods import PodWriter
from modules.edgecontroller.upstream.queries import ASKED_FOR, QueryAnswerer
from modules.edgecontroller.upstream.tokens import TokenIssuer

#: The queue of registrations of nodes.
REGISTRATION = "registration"

#: Events of a node that wait, and the nodes whose events wait; further ones are dropped.
_MOST_EVENTS = 20
_MOST_NODES = 200

#: Requests by which a node shows that it is alive.
REPORTS = frozenset({NODE_STATUS, NODE_PATCH, LEASE})

Rows = dict[tuple[str, str], "Row"]


class Row(NamedTuple):
    """The queue of a kind of request, and the handler of its messages."""

    queue: str
    handle: Handler


@dataclass(frozen=True)
class Handlers:
    """The handlers of each family of requests."""

    calls: Calls
    nodes: NodeWriter
    pods: PodWriter
    leases: LeaseKeeper
    tokens: TokenIssuer
    certificates: CertificateRequester
    events: EventWriter
    queries: QueryAnswerer


async def _not_served(_: list[Message]) -> None:
    raise BadContent("no such request exists")


#: The row of requests that are in no row.
NOT_SERVED = Row(QUERY, _not_served)


def queues(handle: Handler, workers: Workers) -> dict[str, MessageQueue]:
    """Return the queues by their names; of statuses the latest replaces the earlier ones."""
    return {
        NODE_STATUS: MessageQueue(handle, workers.update_node_status, latest_only=True),
        POD_STATUS: MessageQueue(handle, workers.update_pod_status, latest_only=True),
        NODE: MessageQueue(handle, workers.update_node),
        REGISTRATION: MessageQueue(handle, workers.create_node),
        NODE_PATCH: MessageQueue(handle, workers.patch_node),
        POD_PATCH: MessageQueue(handle, workers.patch_pod),
        POD: MessageQueue(handle, workers.change_pod),
        LEASE: MessageQueue(handle, workers.lease),
        TOKEN: MessageQueue(handle, workers.service_account_token),
        CERTIFICATESIGNINGREQUEST: MessageQueue(handle, workers.certificate_signing_request),
        EVENT: MessageQueue(
            handle, workers.event, most_waiting=_MOST_EVENTS, most_keys=_MOST_NODES
        ),
        QUERY: MessageQueue(handle, workers.query),
    }


def rows(handlers: Handlers) -> Rows:
    """Return the table of all requests, by the type of their resource and their operation."""
    calls, nodes, pods, leases = handlers.calls, handlers.nodes, handlers.pods, handlers.leases
    certificates, events = handlers.certificates, handlers.events
    answered, unanswered = calls.answered, calls.unanswered
    query = Row(QUERY, calls.answered_or_retried(handlers.queries.get))
    return {
        (NODE_STATUS, INSERT): Row(REGISTRATION, answered(nodes.register_if_absent)),
        (NODE_STATUS, UPDATE): Row(NODE_STATUS, nodes.write_status),
        (NODE, INSERT): Row(REGISTRATION, answered(nodes.register)),
        (NODE, UPDATE): Row(NODE, nodes.update),
        (NODE_PATCH, PATCH): Row(NODE_PATCH, answered(nodes.patch)),
        (POD_STATUS, UPDATE): Row(POD_STATUS, calls.acknowledged(pods.write_status)),
        (POD_PATCH, PATCH): Row(POD_PATCH, answered(pods.patch)),
        (POD, INSERT): Row(POD, answered(pods.create_mirror)),
        (POD, DELETE): Row(POD, answered(pods.delete)),
        (LEASE, QUERY): Row(LEASE, answered(leases.get)),
        (LEASE, INSERT): Row(LEASE, answered(leases.create)),
        (LEASE, UPDATE): Row(LEASE, answered(leases.replace)),
        (TOKEN, QUERY): Row(TOKEN, answered(handlers.tokens.issue)),
        (CERTIFICATESIGNINGREQUEST, INSERT): Row(
            CERTIFICATESIGNINGREQUEST, answered(certificates.request)
        ),
        (CERTIFICATESIGNINGREQUEST, QUERY): Row(
            CERTIFICATESIGNINGREQUEST, answered(certificates.get)
        ),
        (EVENT, INSERT): Row(EVENT, unanswered(events.create)),
        (EVENT, UPDATE): Row(EVENT, unanswered(events.replace)),
        (EVENT, PATCH): Row(EVENT, unanswered(events.patch)),
        (AUTHORITY, QUERY): Row(QUERY, answered(handlers.queries.authority)),
        **{(type_, QUERY): query for type_ in ASKED_FOR},
    }
