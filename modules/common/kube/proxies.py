"""The HTTP proxy between a client and its API server, which the environment names.

As with client-go: HTTPS_PROXY, HTTP_PROXY and NO_PROXY, but none for loopback addresses. They are
read once. Left to itself, aiohttp reads them and ~/.netrc for each request, in a thread, and takes
a password from there in place of the credentials of the kubeconfig.
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
    """Return the proxy for requests to a server; None if they are sent directly.

    Raises ValueError if the environment names one that is no URL.
    """
    target = URL(server)
    if is_loopback(server) or urllib.request.proxy_bypass(target.host or ""):
        return None
    named = urllib.request.getproxies().get(target.scheme)
    if not named:
        return None
    try:
        url = URL(named if "://" in named else f"http://{named}")
        without_credentials = url.with_user(None)
    except ValueError:  # whose text has the password
        raise ValueError(f"the proxy for {target.scheme} in the environment is no URL") from None
    if url.scheme != "http":
        log.warning(
            "the proxy %s of the environment is not used: it has to be of http://",
            without_credentials,
        )
        return None
    headers = {}
    if url.user:
        credentials = aiohttp.encode_basic_auth(url.user, url.password or "")
        headers["Proxy-Authorization"] = credentials
    return Proxy(without_credentials, headers)


def is_loopback(server: str) -> bool:
    """Whether a server is on this machine."""
    host = URL(server).host or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
