"""Which certificates expire soon, of cloudcore and of connected edges."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any, Final

from modules.common.pki.certificates import RENEW_BEFORE
from modules.dashboard.sources.access import Access
from modules.dashboard.sources.edges import Edge

#: Seconds between two readings of the files.
_POLL: Final = 300.0
#: Certificates which the overview names.
_NAMED: Final = 10


class CertificateBoard:
    """The certificates that have expired, or will within 30 days."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._files: list[dict[str, Any]] = []
        self._fault = ""

    async def run(self) -> None:
        """Poll until cancelled."""
        while True:
            try:
                self._files = await self._access.certificates()
                self._fault = ""
            except (OSError, ValueError) as error:
                self._fault = str(error)
            await asyncio.sleep(_POLL)

    def summary(self, edges: Mapping[str, Edge]) -> dict[str, Any]:
        """Return what the overview shows, those that expire first at the head."""
        connected = {edge.name: edge.certificate for edge in edges.values() if edge.certificate}
        expiring = [
            {"name": name, "kind": "edge", "expires": expires}
            for name, expires in connected.items()
            if _soon(expires)
        ]
        expiring += [
            {name: each[name] for name in ("name", "kind", "expires")}
            for each in self._files
            # The file of a node is a copy of what was issued; what it connects with counts.
            if _soon(each["expires"]) and not (each["kind"] == "node" and each["name"] in connected)
        ]
        expiring.sort(key=lambda each: (each["expires"], each["name"]))
        return {"expiring": len(expiring), "soonest": expiring[:_NAMED], "fault": self._fault}


def _soon(expires: float) -> bool:
    return expires - time.time() < RENEW_BEFORE.total_seconds()
