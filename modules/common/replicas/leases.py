"""Leases of coordination.k8s.io as replicas write them: of replicas, of nodes, of the leaders.

All are in one namespace, with a label that says which of the three they are. The names have a
prefix, so that a node and a replica of one name have a Lease each.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from modules.common import times
from modules.common.kube import BadObject, Object
from modules.common.replicas.holdings import Claim, NodeLease

#: The label of every Lease of replicas, and its values.
LABEL: Final = "cloudcore.kubeedge.io/lease"
OF_NODE: Final = "node"
OF_REPLICA: Final = "replica"
OF_LEADER: Final = "leader"


def name_of(kind: str, name: str) -> str:
    return f"{kind}.{name}"


def named(kind: str, lease_name: str) -> str:
    """Return the node or replica that a Lease is about."""
    return lease_name.removeprefix(f"{kind}.")


def make(kind: str, name: str, spec: Object, version: str = "") -> Object:
    """Return a Lease; with a resourceVersion it replaces the one of that version alone."""
    metadata: Object = {"name": name_of(kind, name), "labels": {LABEL: kind}}
    if version:
        metadata["resourceVersion"] = version
    return {"metadata": metadata, "spec": spec}


def of_claim(node: str, claim: Claim) -> Object:
    """Return the Lease of a node that is claimed. It is not renewed: its holder's Lease is."""
    spec = {
        "holderIdentity": claim.holder,
        "acquireTime": micro_time(times.now()),
        "leaseTransitions": claim.transitions,
    }
    return make(OF_NODE, node, spec, claim.version)


def read_node_lease(lease: Object) -> NodeLease:
    """Return what the Lease of a node says; BadObject if somebody has made it something else."""
    spec: Any = lease.get("spec") or {}
    holder, transitions = spec.get("holderIdentity") or "", spec.get("leaseTransitions") or 0
    if not isinstance(holder, str) or not isinstance(transitions, int):
        raise BadObject("spec", "must have a holderIdentity and a number of leaseTransitions")
    return NodeLease(holder, transitions, lease["metadata"]["resourceVersion"])


def micro_time(time: datetime) -> str:
    """Return a time as metav1.MicroTime."""
    return times.format_time(time, "microseconds")
