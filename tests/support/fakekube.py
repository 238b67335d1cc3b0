"""A Kubernetes API in this process, whose every object the test makes up."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable
from types import SimpleNamespace
from typing import Any

import msgspec

from modules.common.kube import EVENTS, SERVICEACCOUNTS, NotFound, Page, Resource, WatchEvent
from modules.common.kube.health import ApiHealth

Object = dict[str, Any]


class FakeKube:
    """Stands for a KubeClient: lists and watches show what `feed` is given."""

    server = "https://fake"
    authority = "a certificate"

    def __init__(self, module: str) -> None:
        self.module = module
        self.health = ApiHealth()
        self.statistics = SimpleNamespace(errors={})
        self.lists: defaultdict[str, list[Any]] = defaultdict(list)
        self.events: list[Object] = []
        """the Kubernetes Events that were written"""
        self.created: list[tuple[str, Object]] = []
        self.patches: list[tuple[str, str, Object]] = []
        self.answer: Any = None
        """what a get is answered with; None: not found"""
        self.deleted: list[tuple[str, str]] = []
        self.served: dict[str, list[str]] = {"v1alpha1": ["devices", "devicemodels"]}
        """what discovery says of devices.kubeedge.io"""
        self._watches: dict[str, Callable[[WatchEvent], None]] = {}
        self._version = 1

    def feed(self, resource: Resource, obj: Any, type: Any = "ADDED") -> None:  # noqa: A002
        """Show a change to whoever watches a resource."""
        self._watches[resource.plural](WatchEvent(type, obj))

    def next_version(self) -> str:
        self._version += 1
        return str(self._version)

    async def pages(self, resource: Resource, *_: Any, **__: Any) -> AsyncGenerator[Page]:
        yield Page(self.lists[resource.plural], "1")

    async def follow(
        self, resource: Resource, _: Any, on_event: Callable[[WatchEvent], None], **options: Any
    ) -> None:
        options["on_open"]()
        self._watches[resource.plural] = on_event
        await asyncio.get_running_loop().create_future()

    async def read(self, path: str, shape: Any) -> Any:
        version = path.removeprefix("/apis/devices.kubeedge.io").strip("/")
        resources = [{"name": plural} for plural in self.served.get(version, ())]
        versions = [{"version": version} for version in self.served]
        found = {"resources": resources} if version else {"versions": versions}
        return msgspec.convert(found, shape)

    async def get(self, resource: Resource, name: str, namespace: str | None = None) -> Object:
        resource.path(namespace, name)
        if self.answer is None:
            raise NotFound(404, "NotFound", name)
        return self.answer

    async def create(self, resource: Resource, obj: Object, namespace: str | None = None) -> Object:
        if resource is EVENTS:
            self.events.append(obj)
        self.created.append((resource.plural, obj))
        return obj

    async def create_token(self, account: str, namespace: str, spec: Object) -> Object:
        SERVICEACCOUNTS.path(namespace, account, "token")
        return {"metadata": {"name": account}, "spec": spec, "status": {"token": "t.o.k"}}

    async def replace(
        self, resource: Resource, obj: Object, namespace: str | None = None, **_: Any
    ) -> Object:
        resource.path(namespace, obj["metadata"]["name"])
        return obj

    async def patch(
        self, resource: Resource, name: str, patch: Object, namespace: str = "", **_: Any
    ) -> Object:
        resource.path(namespace, name)
        self.patches.append((resource.plural, name, patch))
        metadata = {"name": name, "namespace": namespace, "uid": "u", "resourceVersion": "1"}
        return {"metadata": metadata, "spec": {}, "status": patch.get("status") or {}}

    async def delete(
        self, resource: Resource, name: str, namespace: str | None = None, **_: Any
    ) -> None:
        resource.path(namespace, name)
        self.deleted.append((resource.plural, name))
