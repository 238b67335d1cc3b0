"""Removal of old CertificateSigningRequests (pkg/controller/certificates/cleaner).

Edges use the same name for each of their requests: one that is left over would be in the way of the
renewal of a certificate.
"""

from __future__ import annotations

import time
from datetime import datetime
from typing import Final

from modules.apiserver.kinds.certificates import APPROVED, DENIED, FAILED
from modules.apiserver.meta.objects import Json, dig
from modules.apiserver.registry.certificate_signer import STORAGE
from modules.apiserver.registry.deletion import Options
from modules.apiserver.registry.registry import Registry
from modules.apiserver.turns import Turn

#: Seconds that a request is kept after its decision, ...
DECIDED_SECONDS: Final = 3600.0
#: ... and without one.
PENDING_SECONDS: Final = 24 * 3600.0


async def remove_old(registry: Registry, now: float | None = None) -> int:
    """Remove, in turns, the requests that nobody waits for any more; return how many."""
    now = time.time() if now is None else now
    resource = registry.catalog.find("certificates.k8s.io", "v1", "certificatesigningrequests")
    entries = registry.store.collection(STORAGE).entries
    turn = Turn()
    removed = 0
    for entry in list(entries.values()):
        if entries.get(entry.key) is entry and _is_old(entry.decode(), now):
            registry.delete(resource, *entry.key, Options())
            removed += 1
        if turn.is_over:
            await turn.next()
    return removed


def _is_old(request: Json, now: float) -> bool:
    decided = [
        _seconds(condition.get("lastUpdateTime"))
        for condition in dig(request, "status", "conditions") or ()
        if condition.get("type") in (APPROVED, DENIED, FAILED)
    ]
    if decided:
        return max(decided) < now - DECIDED_SECONDS
    return _seconds(request["metadata"]["creationTimestamp"]) < now - PENDING_SECONDS


def _seconds(text: object) -> float:
    try:
        return datetime.fromisoformat(str(text)).timestamp()
    except (ValueError, OverflowError):
        return 0.0
