"""Room for as many connections as the system allows."""

from __future__ import annotations

import logging
import resource
from typing import Final

log = logging.getLogger(__name__)

#: Descriptors for what is not an edge: channels, logs, connections in their handshake.
_OTHERS: Final = 512


def raise_limit(nodes: int) -> int:
    """Raise this process's limit of open files as far as it may be, and return it.

    Go's runtime does the same (os/rlimit.go). A warning tells when `nodes` are more than fit.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard != resource.RLIM_INFINITY and hard < nodes + _OTHERS:
        log.warning(
            "this process may open %d files, too few for node_limit = %d edges: raise the hard "
            "limit (LimitNOFILE of systemd, ulimit -Hn)",
            *(hard, nodes),
        )
    return hard
