"""Intervals and timeouts of a hollow edge, in seconds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timing:
    """Defaults are edgecore's, except where a reason is given.

    They are in edge/conf/edge.yaml of v1.1, and in pkg/apis/componentconfig/edgecore/v1alpha2,
    kubelet and client-go for v1.23.
    """

    heartbeat: float = 15.0
    """Between two keepalives; the edge reconnects after two of these."""
    node_status: float = 10.0
    """Between two reports of the node's status; from v1.15 on, between two looks at it."""
    node_report: float = 300.0
    """v1.15 on: after which an unchanged node's status is patched nevertheless."""
    register: float = 0.1
    """v1.15 on: after the first attempt to register the node; it doubles, up to 7 s."""
    lease: float = 10.0
    """v1.15 on: between two renewals, a quarter of the lease's duration."""
    pod_status: float = 1.0
    """v1.1: from a pod's change to its report. Edged checks every 10 s, too long for a demo."""
    pod_sync: float = 10.0
    """v1.15 on: between two attempts to report the statuses that are not reported yet."""
    mount: float = 0.5
    """v1.15 on: after the first failure to get what a pod needs; it doubles, up to 122 s."""
    start: float = 0.5
    """v1.15 on: from a pod's volumes to its running containers, which are simulated."""
    meta_sync: float = 60.0
    """v1.1: between two reports of all pods' status."""
    confirm: float = 60.0
    """Until a twin message that the cloud has not confirmed is resent."""
    query: float = 60.0
    """Timeout of a query."""
    volume: float = 60.0
    """Until the cloud gets an empty answer to a request of a CSI driver that has failed."""
    dial_retry: float = 5.0
    dial_pause: float = 60.0
    """v1.1: after every fifth failed dial; from v1.15 on it is two heartbeats."""
    message_rate: float = 30.0
    """v1.15 on: messages a second that the edge sends at most."""
    message_burst: int = 60
    handshake: float = 30.0
    device: float = 0.1
    """From a change of the expected value to the report: the delay of the simulated device."""
