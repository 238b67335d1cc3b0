"""Waits until an object in the Kubernetes API is as expected."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any, Final

from modules.common.kube import KubeClient, Resource

STEP: Final = 15.0
"""Timeout of each step, in seconds."""

Predicate = Callable[[Any], bool]
"""Called with the object; KeyError, IndexError and TypeError mean that a field is missing yet."""


async def in_api(
    api: KubeClient, resource: Resource, name: str, namespace: str | None, predicate: Predicate
) -> None:
    """Wait until the object in the API is as expected; TimeoutError has its last status."""
    found: Any = None
    try:
        async with (
            asyncio.timeout(STEP),
            aclosing(_versions(api, resource, name, namespace)) as versions,
        ):
            async for found in versions:
                if found is not None and _holds(predicate, found):
                    return
    except TimeoutError:
        raise TimeoutError(
            f"{resource.describe(namespace, name)} did not become as expected in the API within "
            f"{STEP:g} s; its status is {(found or {}).get('status')}"
        ) from None


async def gone_from_api(
    api: KubeClient, resource: Resource, name: str, namespace: str | None
) -> None:
    try:
        async with (
            asyncio.timeout(STEP),
            aclosing(_versions(api, resource, name, namespace)) as versions,
        ):
            async for found in versions:
                if found is None:
                    return
    except TimeoutError:
        raise TimeoutError(
            f"{resource.describe(namespace, name)} is still in the API after {STEP:g} s"
        ) from None


async def _versions(
    api: KubeClient, resource: Resource, name: str, namespace: str | None
) -> AsyncGenerator[Any]:
    """Yield the object and each of its changes, endlessly; None while it does not exist."""
    selector = f"metadata.name={name}"
    while True:
        page = await api.list(resource, namespace, field_selector=selector)
        yield page.items[0] if page.items else None
        watch = api.watch(
            resource,
            namespace,
            resource_version=page.resource_version,
            field_selector=selector,
        )
        async with aclosing(watch) as events:
            async for event in events:
                if event.type != "BOOKMARK":
                    yield None if event.type == "DELETED" else event.object


def _holds(predicate: Predicate, found: Any) -> bool:
    try:
        return predicate(found)
    except (KeyError, IndexError, TypeError):  # a field is missing yet
        return False
