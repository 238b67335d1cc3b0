"""A client for Kubernetes API servers from version 1.22 on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from datetime import datetime
from functools import partial
from types import TracebackType
from typing import Any, Final, Literal, Self

import msgspec

from modules.common.http_library import aiohttp
from modules.common.kube.health import ApiHealth
from modules.common.kube.kinds import SERVICEACCOUNTS, Resource
from modules.common.kube.responses import (
    Decoded,
    Page,
    ServerVersion,
    decode,
    decode_list,
    decode_object,
    decode_version,
)
from modules.common.kube.tap import BrokenOff, Tap
from modules.common.kube.transport import (
    CONNECT_TIMEOUT,
    JSON,
    REQUEST_TIMEOUT,
    Request,
    Statistics,
    Transport,
)
from modules.common.kube.watching import EventReader, Object, WatchEvent, iterate
from modules.common.times import parse_http_date
from supervisor.api import Settings

PatchType = Literal["merge", "strategic", "json"]

_PATCH_TYPES: Final[dict[PatchType, str]] = {
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "json": "application/json-patch+json",
}

#: Objects of one page of a list, as in the pager of client-go.
PAGE_SIZE: Final = 500


class KubeClient:
    """A client that reads and writes Kubernetes objects, as dicts, over one connection pool.

    Every method raises a `KubeError`: an `ApiError` if the server refuses the request,
    `Unreachable` without a response, `ConfigurationError` while the kubeconfig cannot be used. No
    method retries; use `retry`.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    @classmethod
    def connect(cls, settings: Settings, *, user_agent: str = "cloudcore") -> Self:
        """Return a client for the configured cluster; use it with `async with`.

        Without a configured cluster it is for the embedded API server, and waits a limited time
        for its kubeconfig. The user agent up to its first slash is the field manager of writes.
        """
        return cls(Transport(settings, user_agent))

    async def __aenter__(self) -> Self:
        await self._transport.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._transport.close()

    @property
    def server(self) -> str:
        """The URL of the API server; empty until a kubeconfig could be read."""
        return self._transport.server

    @property
    def authority(self) -> str:
        """The CA of the API server in PEM; empty if the kubeconfig names none."""
        return self._transport.authority

    @property
    def health(self) -> ApiHealth:
        """The health of the API server as this client sees it."""
        return self._transport.health

    @property
    def module(self) -> str:
        """The module that uses the client, from its user agent; a label of metrics."""
        return self._transport.module

    @property
    def statistics(self) -> Statistics:
        return self._transport.statistics

    @property
    def throttled(self) -> float:
        """The seconds for which the rate limit has delayed requests."""
        return self._transport.throttled

    async def get(self, resource: Resource, name: str, namespace: str | None = None) -> Object:
        return await self._send("GET", resource, namespace, name)

    async def read(self, path: str, shape: type[Decoded]) -> Decoded:
        """Get a document that is not an object of a resource, such as a discovery document."""
        request = Request("GET", path, f"get {path}")
        return decode(
            msgspec.json.Decoder(shape).decode, await self._transport.read(request), request
        )

    async def about(self) -> tuple[ServerVersion, datetime | None]:
        """Return the version of the API server, and the time by its clock, if it says so."""
        request = Request("GET", "/version", "get /version")
        response = await self._transport.send(request)
        date = response.headers.get("Date")
        body = await self._transport.body(request, response)
        return decode(decode_version, body, request), parse_http_date(date)

    async def list(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        label_selector: str = "",
        field_selector: str = "",
    ) -> Page:
        """List all objects that match, with as many requests as there are pages."""
        items: list[Any] = []
        version = ""
        pages = self.pages(
            resource, namespace, label_selector=label_selector, field_selector=field_selector
        )
        async for page in pages:
            items += page.items
            version = page.resource_version
        return Page(items, version)

    async def pages(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        label_selector: str = "",
        field_selector: str = "",
        page_size: int = PAGE_SIZE,
    ) -> AsyncGenerator[Page]:
        """Iterate over the pages of a list that is too large for memory; of size 0: one page.

        Raises Gone if the list's version expires on the server meanwhile.
        """
        query = _query(labelSelector=label_selector, fieldSelector=field_selector)
        if page_size:
            query["limit"] = str(page_size)
        request = Request(
            "GET", resource.path(namespace), f"list {resource.describe(namespace)}", query
        )
        while True:
            found = decode(decode_list, await self._transport.read(request), request)
            yield Page(found.items or [], found.metadata.resource_version)
            if not found.metadata.token:
                return
            query["continue"] = found.metadata.token

    async def create(self, resource: Resource, obj: Object, namespace: str | None = None) -> Object:
        """Create an object; raises AlreadyExists if there is one of that name."""
        data = msgspec.json.encode(_typed(resource, obj))
        return await self._send("POST", resource, namespace, described=_name(obj), data=data)

    async def create_token(self, account: str, namespace: str, spec: Object) -> Object:
        """Have a token of a service account issued; `spec` is that of a TokenRequest."""
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        data = msgspec.json.encode(request)
        return await self._send("POST", SERVICEACCOUNTS, namespace, account, "token", data=data)

    async def replace(
        self,
        resource: Resource,
        obj: Object,
        namespace: str | None = None,
        *,
        subresource: str = "",
    ) -> Object:
        """Replace an object; raises Conflict if its resourceVersion is not the current one."""
        data = msgspec.json.encode(_typed(resource, obj))
        return await self._send("PUT", resource, namespace, _name(obj), subresource, data=data)

    async def patch(
        self,
        resource: Resource,
        name: str,
        patch: Any,
        namespace: str | None = None,
        *,
        type: PatchType = "merge",  # noqa: A002 - the API's word for it
        subresource: str = "",
    ) -> Object:
        """Patch an object; strategic merge patches are for built-in kinds only."""
        return await self._send(
            "PATCH",
            resource,
            namespace,
            name,
            subresource,
            data=msgspec.json.encode(patch),
            content_type=_PATCH_TYPES[type],
        )

    async def delete(
        self,
        resource: Resource,
        name: str,
        namespace: str | None = None,
        *,
        grace_period: int | None = None,
        uid: str = "",
        version: str = "",
    ) -> None:
        """Delete, after `grace_period` seconds.

        Raises Conflict if the object has another `uid`, or another resourceVersion.
        """
        options: Object = {"kind": "DeleteOptions", "apiVersion": "v1"}
        if grace_period is not None:
            options["gracePeriodSeconds"] = grace_period
        if preconditions := _query(uid=uid, resourceVersion=version):
            options["preconditions"] = preconditions
        await self._send("DELETE", resource, namespace, name, data=msgspec.json.encode(options))

    async def follow(
        self,
        resource: Resource,
        namespace: str | None,
        on_event: Callable[[WatchEvent], None],
        *,
        resource_version: str = "",
        label_selector: str = "",
        field_selector: str = "",
        timeout: float = 300.0,
        on_open: Callable[[], None] | None = None,
    ) -> None:
        """Watch from a version on, with bookmarks, until the server ends the watch.

        The server does that after `timeout` seconds. `on_event` is called with each event;
        `on_open` once the watch is accepted, which may be long before the first event. Raises Gone
        if the version is too old.
        """
        request = Request(
            "GET",
            resource.path(namespace),
            f"watch {resource.describe(namespace)}",
            _query(
                watch="true",
                allowWatchBookmarks="true",
                timeoutSeconds=str(max(1, round(timeout))),
                resourceVersion=resource_version,
                labelSelector=label_selector,
                fieldSelector=field_selector,
            ),
            timeout=aiohttp.ClientTimeout(sock_connect=CONNECT_TIMEOUT),
        )
        response = await self._transport.send(request)
        if on_open:
            on_open()
        tap = Tap(response, EventReader(request.what, on_event).feed)
        # Longer than the server's own limit: for a server that does not end the watch.
        forgotten = asyncio.get_running_loop().call_later(
            timeout + REQUEST_TIMEOUT,
            tap.break_off,
            TimeoutError("the server has not ended the watch in time"),
        )
        try:
            await tap.run()
        except BrokenOff as broken:
            raise self._transport.unreachable(request, broken.cause) from broken.cause
        finally:
            forgotten.cancel()
            response.close()

    def watch(
        self, resource: Resource, namespace: str | None = None, **options: Any
    ) -> AsyncGenerator[WatchEvent]:
        """Iterate over the events of `follow`, for callers that await between events."""
        return iterate(partial(self.follow, resource, namespace, **options))

    async def _send(
        self,
        method: str,
        resource: Resource,
        namespace: str | None,
        name: str = "",
        subresource: str = "",
        *,
        described: str = "",
        data: bytes | None = None,
        content_type: str = JSON,
    ) -> Object:
        request = Request(
            method,
            resource.path(namespace, name, subresource),
            f"{method.lower()} {resource.describe(namespace, name or described)}",
            data=data,
            content_type=content_type,
        )
        return decode(decode_object, await self._transport.read(request), request)


def _query(**parameters: str) -> dict[str, str]:
    return {name: value for name, value in parameters.items() if value}


def _typed(resource: Resource, obj: Object) -> Object:
    """Add kind and apiVersion, which the items of lists do not have."""
    return {"apiVersion": resource.api_version, "kind": resource.kind, **obj}


def _name(obj: Object) -> str:
    name: str = obj["metadata"].get("name") or obj["metadata"].get("generateName", "")
    return name
