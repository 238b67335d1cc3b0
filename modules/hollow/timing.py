"""When a hollow edge does what, in seconds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timing:
    """Defaults are edgecore's (edge/conf/edge.yaml), but for the three with a reason given."""

    heartbeat: float = 15.0
    """Between two keepalives; a lost link is dialled again after two of these."""
    node_status: float = 10.0
    pod_status: float = 1.0
    """From a pod's change to its report. Edged looks every 10 s: too long for who watches."""
    meta_sync: float = 60.0
    """Between two reports of all pods' status."""
    confirm: float = 60.0
    """Between two attempts of a twin message that the cloud has not confirmed."""
    query: float = 60.0
    """How long the answer to a query may take."""
    dial_retry: float = 5.0
    dial_pause: float = 60.0
    """After every fifth dial that failed."""
    handshake: float = 30.0
    device: float = 0.1
    """From a twin's desired value to its reported one: how slow the simulated device is."""
