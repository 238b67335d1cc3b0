"""The HTTP proxy between a client and its API server: that of the kubeconfig, or the environment's.

As with client-go: `proxy-url` of the cluster, otherwise HTTPS_PROXY, HTTP_PROXY and NO_PROXY, but
these not for loopback addresses. They are read once. Left to itself, aiohttp reads the environment
and ~/.netrc for each request, in a thread, and takes a password from there in place of the
credentials of the kubeconfig.
"""

from __future__ import annotations

import logging
import urllib.request
from ipaddress import ip_address
from typing import NamedTuple

from yarl import URL

from modules.common.http_library import aiohttp

log = logging.getLogger(__name__)


class Proxy(NamedTuple):
    """The address of a proxy without the credentials, and the headers that have these."""

    url: URL
    headers: dict[str, str]


def proxy_for(server: str) -> Proxy | None:
    """Return the proxy of the environment for a server; None if requests are sent directly.

    Raises ValueError if it is no URL.
    """
    target = URL(server)
    if is_loopback(server) or urllib.request.proxy_bypass(target.host or ""):
        return None
    named = urllib.request.getproxies().get(target.scheme)
    if not named:
        return None
    where = f"the proxy for {target.scheme} in the environment"
    proxy, scheme = _read(named if "://" in named else f"http://{named}", where)
    if scheme != "http":
        log.warning("%s, %s, is not used: it has to be of http://", where, proxy.url)
        return None
    return proxy


def proxy_at(named: str) -> Proxy:
    """Return the proxy that a kubeconfig names; raises ValueError if it cannot be used."""
    proxy, scheme = _read(named, "proxy-url of the cluster")
    if scheme != "http":
        raise ValueError(f"proxy-url of the cluster, {proxy.url}, has to be of http://")
    return proxy


def _read(named: str, where: str) -> tuple[Proxy, str]:
    """Return a proxy, and the scheme of its URL; `where` is its name in errors."""
    try:
        url = URL(named)
        without_credentials = url.with_user(None)
    except ValueError:  # whose text has the password
        raise ValueError(f"{where} is no URL") from None
    headers = {}
    if url.user:
        credentials = aiohttp.encode_basic_auth(url.user, url.password or "")
        headers["Proxy-Authorization"] = credentials
    return Proxy(without_credentials, headers), url.scheme


def is_loopback(server: str) -> bool:
    """Whether a server is on this machine."""
    host = URL(server).host or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
