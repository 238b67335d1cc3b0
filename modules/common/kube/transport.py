"""Requests to one API server: connection pool, credentials, rate limit, errors."""

from __future__ import annotations

import asyncio
import logging
import math
import socket
import ssl
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from modules.common.connection_failures import why
from modules.common.http_library import aiohttp
from modules.common.kube import metrics
from modules.common.kube.credentials import Access, kubeconfig_path, load_access
from modules.common.kube.errors import (
    ApiError,
    ConfigurationError,
    KubeError,
    Unreachable,
    error_from_body,
)
from modules.common.kube.health import REQUESTS, ApiHealth
from modules.common.kube.proxies import is_loopback
from modules.common.kube.ratelimit import TokenBucket
from supervisor.api import Settings

JSON: Final = "application/json"

#: Timeouts in seconds: for a whole request, and for the connection.
REQUEST_TIMEOUT: Final = 30.0
CONNECT_TIMEOUT: Final = 10.0

#: Seconds for which a client waits at its start for the kubeconfig that the embedded API server
#: writes at its first start.
_KUBECONFIG_WAIT: Final = 5.0
_KUBECONFIG_POLL: Final = 0.05

#: An API server that has just started responds before it has read its RBAC rules and filled its
#: caches. Refusals within this many seconds after it was unreachable are part of the outage.
_STARTING: Final = 60.0

#: Connections at most; each watch holds one.
_POOL_SIZE: Final = 100

#: TCP keepalive: seconds of silence before the first probe, between probes, and the probes.
_KEEPALIVE_IDLE: Final = 30
_KEEPALIVE_INTERVAL: Final = 10
_KEEPALIVE_COUNT: Final = 3

_TIMEOUT: Final = aiohttp.ClientTimeout(total=REQUEST_TIMEOUT, sock_connect=CONNECT_TIMEOUT)

log = logging.getLogger(__name__)


@dataclass
class Statistics:
    """Counters of requests by method, and of failures by HTTP status.

    A request without a response counts as `unreachable`.
    """

    requests: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Request:
    """One request; `what` is its name in errors, such as `patch pods default/web`."""

    method: str
    path: str
    what: str
    query: Mapping[str, str] | None = None
    data: bytes | None = None
    content_type: str = JSON
    timeout: aiohttp.ClientTimeout = _TIMEOUT


class Transport:
    """Sends requests within the rate limit, over one connection pool.

    An unauthorized request is sent once more with renewed credentials. A changed kubeconfig (other
    port, renewed certificate) is read again after a failure, an unusable one for each request.
    """

    def __init__(self, settings: Settings, user_agent: str) -> None:
        self._settings = settings
        self._user_agent = user_agent
        self.module = user_agent.removeprefix("cloudcore").lstrip("/-") or "cloudcore"
        self._limit = TokenBucket(settings.kubernetes.qps, settings.kubernetes.burst)
        self._access: Access | None = None
        self._session: aiohttp.ClientSession | None = None
        self._unusable = ""
        self._silent_at = -math.inf
        self.statistics = Statistics()
        self.health = ApiHealth(self._reload)

    @property
    def server(self) -> str:
        """The URL of the API server; empty until a kubeconfig could be read."""
        return self._access.server if self._access else ""

    @property
    def authority(self) -> str:
        """The CA of the API server in PEM; empty if the kubeconfig names none."""
        return self._access.authority if self._access else ""

    @property
    def throttled(self) -> float:
        """The seconds for which the rate limit has delayed requests."""
        return self._limit.waited

    async def open(self) -> None:
        """Read the credentials; nothing is sent yet.

        If they cannot be used, the first request raises ConfigurationError.
        """
        await self._await_kubeconfig()
        self._reload()

    async def close(self) -> None:
        self.health.close()
        if self._session:
            await self._session.close()

    async def read(self, request: Request) -> bytes:
        """Send a request, and return the body of the response."""
        return await self.body(request, await self.send(request))

    async def body(self, request: Request, response: aiohttp.ClientResponse) -> bytes:
        """Read the body of a response, and release the connection."""
        try:
            return await response.read()
        except (aiohttp.ClientError, OSError) as error:
            raise self.unreachable(request, error) from error
        finally:
            response.release()

    async def send(self, request: Request) -> aiohttp.ClientResponse:
        """Send a request, and return the open response; raises ApiError for a failure."""
        throttled = self._limit.waited
        await self._limit.acquire()
        if self._limit.waited > throttled:
            metrics.THROTTLED.labels(self.module).inc(self._limit.waited - throttled)
        try:
            response = await self._send(request)
        except KubeError as error:
            if error.outage:
                self.health.failed(REQUESTS, error)
            else:
                self.health.served(REQUESTS)
            raise
        self.health.served(REQUESTS)
        return response

    def unreachable(self, request: Request, error: Exception) -> Unreachable:
        """Return the error of a request without a whole response, and reload a new kubeconfig."""
        self._silent_at = time.monotonic()
        self._count_error("unreachable")
        proxy = self._access and self._access.proxy
        way = f" through the proxy {proxy.url}" if proxy else ""
        cause = f"no answer from {self.server}{way}: {_describe_failure(error)}"
        self._reload()
        return Unreachable(cause, request=request.what)

    async def _send(self, request: Request) -> aiohttp.ClientResponse:
        access = self._usable()
        authorization = await access.authenticator.header()
        response = await self._exchange(request, access, authorization)
        if response.status == 401 and await self._renew(access, authorization):
            response.release()
            access = self._usable()
            authorization = await access.authenticator.header()
            response = await self._exchange(request, access, authorization)
        if response.status < 300:
            return response
        raise await self._refusal(request, response)

    async def _exchange(
        self, request: Request, access: Access, authorization: str | None
    ) -> aiohttp.ClientResponse:
        headers: dict[str, str] = {}
        if authorization:
            headers["Authorization"] = authorization
        if request.data is not None:
            headers["Content-Type"] = request.content_type
        proxy = access.proxy
        if proxy and access.tls is None:
            headers |= proxy.headers  # otherwise they belong to CONNECT
        self.statistics.requests[request.method] += 1
        metrics.API_REQUESTS.labels(self.module, request.method).inc()
        session = self._session = self._session or self._new_session(access)
        try:
            # A watch lasts long, but is accepted or refused at once.
            async with asyncio.timeout(REQUEST_TIMEOUT):
                return await session.request(
                    request.method,
                    access.server + request.path,
                    params=request.query,
                    data=request.data,
                    headers=headers,
                    ssl=access.tls or True,
                    server_hostname=access.server_name,
                    proxy=proxy and proxy.url,
                    proxy_headers=proxy and proxy.headers,
                    timeout=request.timeout,
                    allow_redirects=False,
                )
        except (aiohttp.ClientError, OSError) as error:
            raise self.unreachable(request, error) from error

    def _count_error(self, code: str) -> None:
        self.statistics.errors[code] += 1
        metrics.API_ERRORS.labels(self.module, code).inc()

    async def _refusal(self, request: Request, response: aiohttp.ClientResponse) -> Exception:
        try:
            body = await response.read()
        except (aiohttp.ClientError, OSError) as error:
            return self.unreachable(request, error)
        finally:
            response.release()
        self._count_error(str(response.status))
        after = response.headers.get("Retry-After")
        refusal = error_from_body(body, request.what, response.status, after)
        if time.monotonic() - self._silent_at < _STARTING and _may_be_premature(request, refusal):
            refusal.call_premature()
        return refusal

    async def _renew(self, access: Access, refused: str | None) -> bool:
        """Get other credentials than the refused ones: renewed by another request, or new ones."""
        if self._access is not access or self._reload():
            return True
        return await access.authenticator.renew(refused)

    async def _await_kubeconfig(self) -> None:
        """Wait for the kubeconfig of the embedded API server; any other one has to exist."""
        path = kubeconfig_path(self._settings)
        if path is None or self._settings.kubernetes.kubeconfig:
            return
        deadline = time.monotonic() + _KUBECONFIG_WAIT
        while not path.exists():
            if time.monotonic() > deadline:
                return
            await asyncio.sleep(_KUBECONFIG_POLL)

    def _usable(self) -> Access:
        """Return the credentials, read if necessary; raises ConfigurationError if unusable."""
        if self._access is None:
            self._access = load_access(self._settings)
        return self._access

    def _reload(self) -> bool:
        """Read a changed or unusable kubeconfig again; keep the old one if it cannot be used."""
        old = self._access
        if old and not old.outdated():
            return False
        try:
            self._access = load_access(self._settings)
        except ConfigurationError as error:
            if old and str(error) != self._unusable:
                self._unusable = str(error)
                log.warning("the kubeconfig has changed and is not used yet: %s", error)
            return False
        self._unusable = ""
        if old:
            log.info("the kubeconfig has changed: using API server %s", self.server)
        return True

    def _new_session(self, access: Access) -> aiohttp.ClientSession:
        tls = access.tls or (True if is_loopback(access.server) else ssl.create_default_context())
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=_POOL_SIZE, socket_factory=_make_socket, ssl=tls),
            headers={"Accept": JSON, "User-Agent": self._user_agent},
        )


def _may_be_premature(request: Request, refusal: ApiError) -> bool:
    """Whether it can be the response of a server that is not ready yet.

    429 "storage is (re)initializing" and 5xx count only for reads: a write can fail because of
    its object.
    """
    if refusal.status in {401, 403}:
        return True
    return request.method == "GET" and (refusal.status == 429 or refusal.is_of_server)


def _describe_failure(error: Exception) -> str:
    """Return the reason for the missing response, without the repr of aiohttp's objects."""
    if isinstance(error, aiohttp.ClientPayloadError):
        return "the connection broke off"
    return why(error)


def _make_socket(address: Any) -> socket.socket:
    """Return a socket with TCP keepalive: a watch only reads, and would not notice a dead peer."""
    family, kind, protocol = address[:3]
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _KEEPALIVE_IDLE)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _KEEPALIVE_INTERVAL)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, _KEEPALIVE_COUNT)
    return made
