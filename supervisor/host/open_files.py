"""The limit of open files, for this process and those of the modules."""

from __future__ import annotations

import logging
import resource
from typing import Final

log = logging.getLogger(__name__)

#: Descriptors that the supervisor or a module needs, whichever needs more: sockets, logs, files.
#: CloudHub itself adds what edges need.
_BASE: Final = 64
#: Those of one module's channels and pipes, enabled or not, or of one of its further processes.
_EACH: Final = 20


def raise_limit(processes: int) -> None:
    """Raise the soft limit of open files to the hard limit; modules' processes inherit it.

    Go's runtime does the same (os/rlimit.go). Logs a warning if the hard limit is too low for
    this number of modules and of their further processes.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard != resource.RLIM_INFINITY and hard < needed(processes):
        log.warning(
            "the limit of open files is %d, and cloudcore needs about %d; raise the hard limit "
            "(LimitNOFILE of systemd, ulimit -Hn)",
            *(hard, needed(processes)),
        )


def hard_limit() -> int | None:
    """Return the hard limit of open files; None without one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if hard == resource.RLIM_INFINITY else hard


def needed(processes: int) -> int:
    """Return the number of open files that the supervisor or a module needs."""
    return _BASE + _EACH * processes
