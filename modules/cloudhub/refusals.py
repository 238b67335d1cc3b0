"""The log lines about refused clients: a few a minute for each address, and a number for the rest.

A client that tries again and again must not fill the log.
"""

from __future__ import annotations

import ipaddress
import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

log = logging.getLogger(__name__)

#: Addresses that are remembered; beyond that, the one that was refused longest ago is forgotten.
_REMEMBERED: Final = 4096
#: Seconds in which an address may have its number of lines.
_PERIOD: Final = 60.0
_IPV6_NETWORK: Final = 64


@dataclass(slots=True)
class _Refused:
    began: float
    lines: int = 0
    unlogged: int = 0


class Refusals:
    """The refusals of clients by address, of which each has up to `lines` log lines a minute."""

    def __init__(self, lines: int, now: Callable[[], float] = time.monotonic) -> None:
        self._lines = lines
        self._now = now
        self._refused: OrderedDict[str, _Refused] = OrderedDict()

    def put(self, address: str, text: str) -> None:
        """Log a refusal, unless the address has had its lines within the last minute."""
        known = self._known(address)
        if known.lines >= self._lines:
            known.unlogged += 1
            return
        more = f" (and {known.unlogged} more in the time before)" if known.unlogged else ""
        log.warning("%s%s", text, more)
        known.lines, known.unlogged = known.lines + 1, 0

    def _known(self, address: str) -> _Refused:
        key, now = network_of(address), self._now()
        known = self._refused.pop(key, None) or _Refused(now)
        self._refused[key] = known
        if len(self._refused) > _REMEMBERED:
            self._refused.popitem(last=False)
        if now >= known.began + _PERIOD:
            known.began, known.lines = now, 0
        return known


def network_of(address: str) -> str:
    """Return the address, or the network of an IPv6 host, which has all addresses of it."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv4Address) or found.ipv4_mapped:
        return address
    return str(ipaddress.ip_network((int(found), _IPV6_NETWORK), strict=False))
