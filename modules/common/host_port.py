"""HOST:PORT, in which an IPv6 address stands in brackets."""

from __future__ import annotations


def bracketed(host: str) -> str:
    """Return a host as it stands in a URL, or before a port."""
    return f"[{host}]" if ":" in host else host


def host_port(host: str, port: int) -> str:
    """Return HOST:PORT."""
    return f"{bracketed(host)}:{port}"
