"""Where a module listens, as it asks the supervisor for the socket."""

from __future__ import annotations

from typing import Literal, NamedTuple


class Listener(NamedTuple):
    """A socket to be opened at an address; port 0 selects a free one.

    Of a `tcp` socket connections wait in the backlog while the module restarts, of a `udp` socket
    datagrams in the kernel's buffer. Unix sockets are opened by the module itself, in the run
    directory (`Module.unix_sockets`).
    """

    address: str
    port: int
    kind: Literal["tcp", "udp"] = "tcp"
    table: str = ""
    """the table of the configuration that sets the address, if not the module's own"""
