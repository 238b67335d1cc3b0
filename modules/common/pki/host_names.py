"""The names and addresses of this host, at which an edge may reach it.

Go's cloudcore names the address of the host's default interface (advertiseAddress); a host with
several networks is dialled at each of them.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence
from typing import Final

import psutil

from modules.common.dns_names import is_subdomain
from modules.common.pki.certificates import WILDCARDS

#: Addresses that are named at most: a host of containers may have hundreds.
_MOST: Final = 16
#: Documentation addresses (RFC 5737, RFC 3849): the route to them is the default route.
_ANYWHERE: Final = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))


def served_names(configured: Sequence[str], address: str) -> list[str]:
    """Return the names and addresses that edges may dial: configured ones, and this host's own.

    `address` is the one that is listened on: if it is that of one network, it is the only own one.
    """
    return [*configured, *([address] if address not in WILDCARDS else own_names())]


def own_names() -> list[str]:
    """Return the host's name and addresses."""
    name = socket.gethostname().lower()
    names = [name] if is_subdomain(name) else []
    return [*names, *own_addresses()]


def own_addresses() -> list[str]:
    """Return the host's addresses, that of the default route first.

    Loopback and link-local addresses are omitted.
    """
    found = dict.fromkeys(_default_routes())
    interfaces = psutil.net_if_addrs()
    for interface in sorted(interfaces):
        for each in interfaces[interface]:
            if each.family in {socket.AF_INET, socket.AF_INET6}:
                found[each.address.partition("%")[0]] = None
    return [address for address in found if _reachable(address)][:_MOST]


def _default_routes() -> list[str]:
    addresses = []
    for family, target in _ANYWHERE:
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect((target, 9))  # of a datagram socket: chooses a route, sends nothing
                addresses.append(probe.getsockname()[0])
        except OSError:
            continue
    return addresses


def _reachable(address: str) -> bool:
    found = ipaddress.ip_address(address)
    return not (found.is_loopback or found.is_link_local or found.is_unspecified)
