"""Clients by address: a rate limit for each, and one log line a minute about its refusals."""

from __future__ import annotations

import ipaddress
import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

log = logging.getLogger(__name__)

#: Addresses that are remembered; beyond that, the one that called longest ago is forgotten.
_REMEMBERED: Final = 4096
#: Seconds between two log lines about one address.
_LOG_EVERY: Final = 60.0
#: An IPv6 host has all addresses of its network.
_IPV6_NETWORK: Final = 64


@dataclass(slots=True)
class _Caller:
    tokens: float
    at: float
    logged: float = -_LOG_EVERY
    unlogged: int = 0


class Callers:
    """A token bucket for each address: `rate` per second after a burst of `burst`."""

    def __init__(self, rate: float, burst: int, now: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._burst = burst
        self._now = now
        self._callers: OrderedDict[str, _Caller] = OrderedDict()

    def wait(self, address: str) -> float:
        """Return the seconds until the address has something left; 0 if it has."""
        return max(0.0, (1.0 - self._caller(address).tokens) / self._rate)

    def take(self, address: str) -> None:
        """Count one against the limit of an address."""
        self._caller(address).tokens -= 1.0

    def refused(self, address: str, reason: str) -> None:
        """Log a refusal, unless there was a line about this address within the last minute."""
        caller = self._caller(address)
        if caller.at < caller.logged + _LOG_EVERY:
            caller.unlogged += 1
            return
        more = f" (and {caller.unlogged} more in the time before)" if caller.unlogged else ""
        log.warning("request from %s refused: %s%s", address, reason, more)
        caller.logged, caller.unlogged = caller.at, 0

    def _caller(self, address: str) -> _Caller:
        """Return the record of an address, brought up to now."""
        key, now = _key(address), self._now()
        caller = self._callers.pop(key, None) or _Caller(self._burst, now)
        self._callers[key] = caller
        if len(self._callers) > _REMEMBERED:
            self._callers.popitem(last=False)
        caller.tokens = min(self._burst, caller.tokens + (now - caller.at) * self._rate)
        caller.at = now
        return caller


def _key(address: str) -> str:
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv4Address) or found.ipv4_mapped:
        return address
    return str(ipaddress.ip_network((int(found), _IPV6_NETWORK), strict=False))
