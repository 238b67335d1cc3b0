"""Clients by address: a rate limit for each, and one log line a minute about its refusals."""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from modules.common.log_limit import LogLimit, network_of

log = logging.getLogger(__name__)

#: Addresses that are remembered; beyond that, the one that called longest ago is forgotten.
_REMEMBERED: Final = 4096


@dataclass(slots=True)
class _Caller:
    tokens: float
    at: float


class Callers:
    """A token bucket for each address: `rate` per second after a burst of `burst`."""

    def __init__(self, rate: float, burst: int, now: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._burst = burst
        self._now = now
        self._callers: OrderedDict[str, _Caller] = OrderedDict()
        self._refusals = LogLimit(log, lines=1, now=now)

    def wait(self, address: str) -> float:
        """Return the seconds until the address has something left; 0 if it has."""
        return max(0.0, (1.0 - self._caller(address).tokens) / self._rate)

    def take(self, address: str) -> None:
        """Count one against the limit of an address."""
        self._caller(address).tokens -= 1.0

    def refused(self, address: str, reason: str) -> None:
        """Log a refusal, unless there was a line about this address within the last minute."""
        text = f"request from {address} refused: {reason}"
        self._refusals.put(network_of(address), logging.WARNING, text)

    def _caller(self, address: str) -> _Caller:
        """Return the record of an address, brought up to now."""
        key, now = network_of(address), self._now()
        caller = self._callers.pop(key, None) or _Caller(self._burst, now)
        self._callers[key] = caller
        if len(self._callers) > _REMEMBERED:
            self._callers.popitem(last=False)
        caller.tokens = min(self._burst, caller.tokens + (now - caller.at) * self._rate)
        caller.at = now
        return caller
