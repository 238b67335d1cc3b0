"""What DeviceController counts."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

from modules.common.kube.metrics import SYNC_BUCKETS

SYNC_LATENCY: Final = Histogram(
    "cloudcore_devicecontroller_sync_latency_seconds",
    "From the API's event about a device until what its node is told of it is in cloudhub's "
    "channel.",
    buckets=SYNC_BUCKETS,
)
MESSAGES_SENT: Final = Counter(
    "cloudcore_devicecontroller_messages_sent_total", "Messages that cloudhub's channel has taken."
)
QUEUE_DEPTH: Final = Gauge(
    "cloudcore_devicecontroller_queue_depth",
    "What waits or is being worked on: nodes to tell (announcements), device profiles, statuses of "
    "devices, devices whose faults are looked for (rejections).",
    ["queue"],
    multiprocess_mode="livesum",
)
REJECTED_DEVICES: Final = Gauge(
    "cloudcore_devicecontroller_rejected_devices",
    "Devices that have a fault that keeps them from working.",
    multiprocess_mode="livesum",
)
