"""The requests of edges, by type and operation: the queue of each, and what handles it.

The table is that of dispatchMessage in cloud/pkg/edgecontroller/controller/upstream.go. A queue has
workers of its own (config.py), so that leases and node status never wait behind other requests.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from modules.edgecontroller.config import Workers
from modules.edgecontroller.messages import (
    DELETE,
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
from modules.edgecontroller.upstream.leases import LeaseKeeper
from modules.edgecontroller.upstream.message_queue import Handler
from modules.edgecontroller.upstream.nodes import NodeWriter
from modules.edgecontroller.upstream.pods import PodWriter
from modules.edgecontroller.upstream.queries import ASKED_FOR, QueryAnswerer
from modules.edgecontroller.upstream.tokens import TokenIssuer

#: The queue of registrations of nodes.
REGISTRATION = "registration"

#: Queues of statuses, of which the latest replaces the earlier ones.
LATEST_ONLY = frozenset({NODE_STATUS, POD_STATUS})

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
    queries: QueryAnswerer


def workers_by_queue(workers: Workers) -> dict[str, int]:
    """Return the number of workers of each queue."""
    return {
        NODE_STATUS: workers.update_node_status,
        POD_STATUS: workers.update_pod_status,
        NODE: workers.update_node,
        REGISTRATION: workers.create_node,
        NODE_PATCH: workers.patch_node,
        POD_PATCH: workers.patch_pod,
        POD: workers.delete_pod,
        LEASE: workers.lease,
        TOKEN: workers.service_account_token,
        QUERY: workers.query,
    }


def rows(handlers: Handlers) -> Rows:
    """Return the table of all requests, by the type of their resource and their operation."""
    nodes, pods, leases = handlers.nodes, handlers.pods, handlers.leases
    answered = handlers.calls.answered
    query = Row(QUERY, handlers.calls.answered_or_retried(handlers.queries.get))
    return {
        (NODE_STATUS, UPDATE): Row(NODE_STATUS, nodes.write_status),
        (POD_STATUS, UPDATE): Row(POD_STATUS, pods.write_status),
        (NODE, UPDATE): Row(NODE, nodes.write_annotations),
        (NODE, INSERT): Row(REGISTRATION, answered(nodes.register)),
        (NODE_PATCH, PATCH): Row(NODE_PATCH, answered(nodes.patch)),
        (POD_PATCH, PATCH): Row(POD_PATCH, answered(pods.patch)),
        (POD, DELETE): Row(POD, answered(pods.delete)),
        (LEASE, QUERY): Row(LEASE, answered(leases.get)),
        (LEASE, INSERT): Row(LEASE, answered(leases.create)),
        (LEASE, UPDATE): Row(LEASE, answered(leases.replace)),
        (TOKEN, QUERY): Row(TOKEN, answered(handlers.tokens.issue)),
        **{(type_, QUERY): query for type_ in ASKED_FOR},
    }
