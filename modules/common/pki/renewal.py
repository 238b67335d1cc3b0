"""When cloudcore's own certificates are to be checked, and renewed if they are about to expire."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Final

from modules.common.clock_jumps import ClockJumps
from modules.common.failure_log import FailureLog
from modules.common.pki.host_names import own_names

log = logging.getLogger(__name__)

#: Seconds between two checks.
_RENEWAL: Final = 12 * 3600.0
#: Seconds between two readings of the clock.
_GLANCE: Final = 5.0
#: Seconds between two looks at the host's own addresses.
_ADDRESSES: Final = 60.0

_failures: Final = FailureLog(log)


async def due() -> None:
    """Wait until the next check is due: after _RENEWAL seconds, or once something has changed.

    That is the clock, since timers use the monotonic clock and certificates expire by the wall
    clock, or one of the host's addresses.
    """
    began = looked = time.monotonic()
    clock = ClockJumps()
    named = _names()
    while (now := time.monotonic()) - began < _RENEWAL:
        await asyncio.sleep(min(_GLANCE, _RENEWAL))
        if jump := clock.jump():
            log.info("the clock was set by %+.0f s: checking the certificates", jump)
            return
        if now - looked >= _ADDRESSES:
            looked = now
            found = _names()
            if found and found != named:
                log.info("this host has other names or addresses: checking the certificates")
                return


def _names() -> list[str]:
    """Return the host's names and addresses; none while it cannot be asked for them."""
    try:
        found = own_names()
    except OSError as error:  # of a netlink socket: no descriptor is left
        text = f"cannot look at this host's addresses: {error}; trying again"
        _failures.failed("addresses", str(error), text)
        return []
    _failures.worked("addresses", "this host's addresses are looked at again")
    return found
