"""The pace of hollow edges in tests that end CloudHub, or the connection of an edge."""

from __future__ import annotations

from typing import Final

from modules.hollow.timing import Timing

#: An edge dials again after two heartbeats: 30 s for a real one.
QUICK: Final = Timing(heartbeat=1, dial_retry=0.5, node_status=1, pod_status=0.1)
