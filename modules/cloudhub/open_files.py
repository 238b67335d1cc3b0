"""Room for as many connections as the system allows."""

from __future__ import annotations

import logging
import resource
from typing import Final

log = logging.getLogger(__name__)

#: Descriptors for what is not an edge: channels, logs, connections in their handshake.
_OTHERS: Final = 512


def check_limit(nodes: int) -> int:
    """Return how many files this process may open; the supervisor has raised that to the most.

    A warning tells when `nodes` are more than fit.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit != resource.RLIM_INFINITY and limit < nodes + _OTHERS:
        log.warning(
            "this process may open %d files, too few for node_limit = %d edges: raise the hard "
            "limit (LimitNOFILE of systemd, ulimit -Hn)",
            *(limit, nodes),
        )
    return limit
