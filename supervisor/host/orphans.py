"""Reaping of orphans: PID 1 of a container inherits every process whose parent has exited."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Final

log = logging.getLogger(__name__)

#: The kernel's list of our children, if it was built with CONFIG_PROC_CHILDREN.
_CHILDREN: Final = Path("/proc/thread-self/children")


def reap_by(loop: asyncio.AbstractEventLoop, ours: AbstractSet[int]) -> None:
    """Reap inherited children from now on; `ours` are children that the supervisor waits for."""
    loop.add_signal_handler(signal.SIGCHLD, _reap, ours)


def _reap(ours: AbstractSet[int]) -> None:
    try:
        children = {int(pid) for pid in _CHILDREN.read_text().split()}
    except OSError:  # no such list, or no descriptor to read it: the next SIGCHLD finds the orphans
        return
    for pid in children - ours:
        try:
            reaped, status = os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:  # another wait has reaped it
            continue
        if reaped:
            log.debug("reaped the orphan %d, status %d", pid, os.waitstatus_to_exitcode(status))
