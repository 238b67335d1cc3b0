"""The Kubernetes API for the pages, opened in the background: its kubeconfig may come late."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any, Self

from modules.common.kube import KubeClient, Resource


class Cluster:
    """A client that lists; whoever asks before it is open waits for that."""

    def __init__(self, client: KubeClient) -> None:
        self._client = client
        self._opening: asyncio.Task[Any] | None = None

    async def __aenter__(self) -> Self:
        self._opening = asyncio.create_task(self._client.__aenter__())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._opening
        self._opening.cancel()
        await asyncio.wait([self._opening])
        await self._client.__aexit__(kind, error, trace)

    async def list(self, resource: Resource, **selectors: str) -> list[Any]:
        """Return the objects that match; raises KubeError."""
        assert self._opening
        await asyncio.shield(self._opening)
        return (await self._client.list(resource, **selectors)).items
