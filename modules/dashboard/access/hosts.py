"""The names under which browsers may reach the page.

A page of another site can make its own name resolve to this address (DNS rebinding), and its
requests then count as same-origin in the browser. They carry that name in Host, and are refused.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address
from typing import Final

_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")
_WILDCARDS: Final = ("0.0.0.0", "::")


class Hosts:
    """The hosts that may be named in the headers Host and Origin."""

    def __init__(self, address: str, port: int, names: Iterable[str]) -> None:
        self._port = port
        self._own = {address.lower(), *_LOOPBACK}
        self._any_address = address in _WILDCARDS
        self._names = {name.lower() for name in names}

    def allow(self, host: str) -> bool:
        """Whether a Host header names this page; a configured name may have any port."""
        name, port = _split(host.lower())
        if name in self._names:
            return True
        if port != str(self._port):
            return False
        return name in self._own or (self._any_address and _is_address(name))


def same_origin(origin: str, host: str) -> bool:
    """Whether an Origin header is that of the page that Host names, over HTTP or HTTPS."""
    scheme, separator, rest = origin.partition("://")
    return bool(separator) and scheme in {"http", "https"} and rest.lower() == host.lower()


def _split(host: str) -> tuple[str, str]:
    name, separator, port = host.rpartition(":")
    if not separator or "]" in port:
        name, port = host, "80"
    return name.strip("[]"), port


def _is_address(name: str) -> bool:
    """Whether a name is an address: no other site can have one resolve to it."""
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
