"""The log lines about clients: a few a minute for each, and then one that tells of the rest.

A client that connects, fails or asks again and again must not fill the log.
"""

from __future__ import annotations

import ipaddress
import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

#: Lines a minute, unless told otherwise: some clients may share an address.
LINES: Final = 10
#: Clients that are remembered; beyond that, the one that had a line longest ago is forgotten.
_REMEMBERED: Final = 4096
#: Seconds in which a client may have its number of lines.
_PERIOD: Final = 60.0
_IPV6_NETWORK: Final = 64


@dataclass(slots=True)
class _Client:
    began: float
    lines: int = 0
    left_out: int = 0
    level: int = 0
    text: str = ""
    """the last line that was left out"""


class LogLimit:
    """A log in which each client, such as an address or a node, has up to `lines` lines a minute.

    What was left out is told with the client's next line, or by `flush` if there is none.
    """

    def __init__(
        self,
        log: logging.Logger,
        lines: int = LINES,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._log = log
        self._lines = lines
        self._now = now
        self._clients: OrderedDict[str, _Client] = OrderedDict()
        self._held: dict[str, _Client] = {}
        """those of which lines were left out"""

    def put(self, client: str, level: int, text: str) -> None:
        """Log a line about a client, unless it has had its lines within the last minute."""
        known = self._known(client)
        if self._is_over(known):
            known.began, known.lines = self._now(), 0
        if known.lines >= self._lines:
            known.left_out, known.level, known.text = known.left_out + 1, level, text
            self._held[client] = known
            return
        known.lines += 1
        self._write(level, text, known.left_out)
        known.left_out = 0
        self._held.pop(client, None)

    def flush(self) -> None:
        """Log the last line that was left out of each client whose minute is over."""
        due = [client for client, known in self._held.items() if self._is_over(known)]
        for client in due:
            known = self._held.pop(client)
            known.began, known.lines = self._now(), 1
            self._tell(known)

    def _is_over(self, known: _Client) -> bool:
        return self._now() >= known.began + _PERIOD

    def _known(self, client: str) -> _Client:
        known = self._clients.pop(client, None) or _Client(self._now())
        self._clients[client] = known
        if len(self._clients) > _REMEMBERED:
            forgotten, _ = self._clients.popitem(last=False)
            if held := self._held.pop(forgotten, None):
                self._tell(held)
        return known

    def _tell(self, held: _Client) -> None:
        self._write(held.level, held.text, held.left_out - 1)
        held.left_out = 0

    def _write(self, level: int, text: str, left_out: int) -> None:
        more = f" (and {left_out} more in the time before)" if left_out else ""
        self._log.log(level, "%s%s", text, more)


def network_of(address: str) -> str:
    """Return the address, or the network of an IPv6 host, which has all addresses of it."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv4Address) or found.ipv4_mapped:
        return address
    return str(ipaddress.ip_network((int(found), _IPV6_NETWORK), strict=False))
