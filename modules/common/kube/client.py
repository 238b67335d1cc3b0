"""A client for any Kubernetes API server from version 1.22 on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from functools import partial
from types import TracebackType
from typing import Any, Final, Literal, NamedTuple, Self, TypeVar

import aiohttp
import msgspec

from modules.common.kube.credentials import ConnectSettings
from modules.common.kube.errors import Unreachable
from modules.common.kube.health import ApiHealth
from modules.common.kube.kinds import Resource
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

Decoded = TypeVar("Decoded")
PatchType = Literal["merge", "strategic", "json"]

_PATCH_TYPES: Final[dict[PatchType, str]] = {
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "json": "application/json-patch+json",
}

#: Objects asked for at a time, as client-go's pager does.
PAGE_SIZE: Final = 500


class Page(NamedTuple):
    """One page of a list, or all of them; `resource_version` is where to watch from.

    The items are as the server gives them: a reflector sets aside those that are no objects.
    """

    items: list[Any]
    resource_version: str


class _ListMeta(msgspec.Struct):
    resource_version: str = msgspec.field(default="", name="resourceVersion")
    token: str = msgspec.field(default="", name="continue")


class _List(msgspec.Struct):
    metadata: _ListMeta
    items: list[Any] | None = None


_decode_list: Final = msgspec.json.Decoder(_List).decode
_decode_object: Final = msgspec.json.Decoder(Object).decode


class KubeClient:
    """Reads and writes Kubernetes objects, which are dicts, over one pool of connections.

    Every method raises a `KubeError`: an `ApiError` for what the server refuses, `Unreachable`
    when no answer came, `ConfigurationError` while the kubeconfig cannot be used. None of them
    tries again; `retry` does.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    @classmethod
    def connect(cls, settings: ConnectSettings, *, user_agent: str = "cloudcore") -> Self:
        """Make a client, to be entered with `async with`, for the configured cluster.

        Without one it is for the embedded API server, whose kubeconfig is waited for a while. The
        user agent up to its first slash is the field manager of what is written.
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
        """The URL of the API server in use; empty while no kubeconfig could be read."""
        return self._transport.server

    @property
    def health(self) -> ApiHealth:
        """Whether the API server serves this client, and if not, since when and why."""
        return self._transport.health

    @property
    def module(self) -> str:
        """Whose client it is, by its user agent: for metrics."""
        return self._transport.module

    @property
    def statistics(self) -> Statistics:
        return self._transport.statistics

    @property
    def throttled(self) -> float:
        """Seconds that requests have been held back by the rate limit."""
        return self._transport.throttled

    async def get(self, resource: Resource, name: str, namespace: str | None = None) -> Object:
        return await self._send("GET", resource, namespace, name)

    async def read(self, path: str, shape: type[Decoded]) -> Decoded:
        """Get what is no object of a resource, such as discovery documents."""
        request = Request("GET", path, f"get {path}")
        return _decode(
            msgspec.json.Decoder(shape).decode, await self._transport.read(request), request
        )

    async def list(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        label_selector: str = "",
        field_selector: str = "",
    ) -> Page:
        """List all objects that match; beneath, it asks for pages."""
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
    ) -> AsyncGenerator[Page]:
        """List in pages, for lists that need not be in memory as a whole.

        Raises Gone when it takes so long that the server no longer knows the list's version.
        """
        query = _query(labelSelector=label_selector, fieldSelector=field_selector)
        query["limit"] = str(PAGE_SIZE)
        request = Request(
            "GET", resource.path(namespace), f"list {resource.describe(namespace)}", query
        )
        while True:
            found = _decode(_decode_list, await self._transport.read(request), request)
            yield Page(found.items or [], found.metadata.resource_version)
            if not found.metadata.token:
                return
            query["continue"] = found.metadata.token

    async def create(self, resource: Resource, obj: Object, namespace: str | None = None) -> Object:
        """Create; AlreadyExists when there is one of that name."""
        data = msgspec.json.encode(_typed(resource, obj))
        return await self._send("POST", resource, namespace, described=_name(obj), data=data)

    async def replace(
        self,
        resource: Resource,
        obj: Object,
        namespace: str | None = None,
        *,
        subresource: str = "",
    ) -> Object:
        """Replace; Conflict when the object's resourceVersion is no longer the current one."""
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
        """Patch; strategic merge patches are for built-in kinds only."""
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
    ) -> None:
        """Delete, after `grace_period` seconds; with a uid, only that very object (Conflict)."""
        options: Object = {"kind": "DeleteOptions", "apiVersion": "v1"}
        if grace_period is not None:
            options["gracePeriodSeconds"] = grace_period
        if uid:
            options["preconditions"] = {"uid": uid}
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
        """Watch from a version on, bookmarks included, until the server ends it.

        It does so after `timeout` seconds. `on_event` is called with each event as it is read;
        `on_open` when the server has accepted the watch, which may be long before its first
        event. Raises Gone when the version is too old.
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
        # Longer than the server's own limit: only for one that has forgotten the watch.
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
        """Iterate over what `follow` tells, with its options: for who takes time for an event."""
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
        return _decode(_decode_object, await self._transport.read(request), request)


def _decode(decode: Callable[[bytes], Decoded], body: bytes, request: Request) -> Decoded:
    try:
        return decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Unreachable(
            f"the answer is not Kubernetes JSON: {error}", request=request.what
        ) from error


def _query(**parameters: str) -> dict[str, str]:
    return {name: value for name, value in parameters.items() if value}


def _typed(resource: Resource, obj: Object) -> Object:
    """Add the type, which objects out of lists and caches do not carry."""
    return {"apiVersion": resource.api_version, "kind": resource.kind, **obj}


def _name(obj: Object) -> str:
    name: str = obj["metadata"].get("name") or obj["metadata"].get("generateName", "")
    return name
