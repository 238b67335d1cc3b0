"""How many files this process and those of the modules may have open."""

from __future__ import annotations

import logging
import resource
from typing import Final

log = logging.getLogger(__name__)

#: Descriptors of the supervisor or of a module, whichever has more: channels, sockets, logs and
#: files, and so many more for each module, enabled or not, and for each further process of one.
#: CloudHub says itself what edges need.
_BASE: Final = 64
_EACH: Final = 20


def raise_limit(processes: int) -> None:
    """Raise the soft limit of open files to the hard one, for the modules' processes too.

    Go's runtime does the same (os/rlimit.go). A warning says what is needed for so many modules
    and further processes of them if the hard limit is lower.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    needed = _BASE + _EACH * processes
    if hard != resource.RLIM_INFINITY and hard < needed:
        log.warning(
            "a process may open %d files, and cloudcore needs about %d: raise the hard limit "
            "(LimitNOFILE of systemd, ulimit -Hn)",
            *(hard, needed),
        )
