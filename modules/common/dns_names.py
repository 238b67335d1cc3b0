"""DNS names (RFC 1123), of which Kubernetes makes the names of objects."""

from __future__ import annotations

import re
from typing import Final

_SUBDOMAIN: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LONGEST: Final = 253


def is_subdomain(name: str) -> bool:
    """Whether Node, Pod and most other objects can have this name."""
    return len(name) <= _LONGEST and _SUBDOMAIN.fullmatch(name) is not None
