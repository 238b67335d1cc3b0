"""The metrics of DeviceController."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

from modules.common.kube.metrics import SYNC_BUCKETS

SYNC_LATENCY: Final = Histogram(
    "cloudcore_devicecontroller_sync_latency_seconds",
    "Time from the API's event about a device until the message to its node is in cloudhub's "
    "channel.",
    buckets=SYNC_BUCKETS,
)
#: The queues of QUEUE_DEPTH.
QUEUES: Final = ("announcements", "profiles", "statuses", "rejections", "objectsyncs")

MESSAGES_SENT: Final = Counter(
    "cloudcore_devicecontroller_messages_sent_total", "Messages sent to cloudhub's channel."
)
QUEUE_DEPTH: Final = Gauge(
    "cloudcore_devicecontroller_queue_depth",
    "Keys queued or in work: nodes and devices to announce (announcements), device profiles, "
    "statuses of devices, devices to check for faults (rejections), ObjectSyncs.",
    ["queue"],
    multiprocess_mode="livesum",
)
REJECTED_DEVICES: Final = Gauge(
    "cloudcore_devicecontroller_rejected_devices",
    "Devices with a fault that prevents their use.",
    multiprocess_mode="livesum",
)
