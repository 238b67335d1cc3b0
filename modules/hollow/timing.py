"""Intervals and timeouts of a hollow edge, in seconds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timing:
    """Defaults are edgecore's (edge/conf/edge.yaml), except where a reason is given."""

    heartbeat: float = 15.0
    """Between two keepalives; the edge reconnects after two of these."""
    node_status: float = 10.0
    pod_status: float = 1.0
    """From a pod's change to its report. Edged checks every 10 s, too long for a demo."""
    meta_sync: float = 60.0
    """Between two reports of all pods' status."""
    confirm: float = 60.0
    """Until a twin message that the cloud has not confirmed is resent."""
    query: float = 60.0
    """Timeout of a query."""
    dial_retry: float = 5.0
    dial_pause: float = 60.0
    """After every fifth failed dial."""
    handshake: float = 30.0
    device: float = 0.1
    """From a change of the expected value to the report: the delay of the simulated device."""
