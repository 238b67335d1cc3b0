"""The limit on open files, compared with what node_limit needs."""

from __future__ import annotations

import logging
import resource
from typing import Final

log = logging.getLogger(__name__)

#: Descriptors for everything but edges: channels, logs, connections in their handshake.
OTHERS: Final = 512


def check_limit(nodes: int, drivers: int = 0) -> int:
    """Return the limit on open files, which the supervisor has raised to the hard limit.

    Log a warning if it is too low for the connections of `nodes` and of CSI `drivers`.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit != resource.RLIM_INFINITY and limit < nodes + drivers + OTHERS:
        log.warning(
            "this process may open %d files, too few for node_limit = %d edges: raise the hard "
            "limit (LimitNOFILE of systemd, ulimit -Hn)",
            *(limit, nodes),
        )
    return limit
