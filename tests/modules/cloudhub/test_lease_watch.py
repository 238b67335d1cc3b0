"""A replica whose watch of Leases is silent, as that of an API server that hangs.

Others serve its writes, so it may be told of none of the nodes that other replicas have taken.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from modules.common.kube import LEASES, KubeClient, Resource, WatchEvent, checked_watch
from modules.common.pki.certificates import Pki
from tests.modules.cloudhub.claiming import LEASE, NAMESPACE, NODE, lease, running, take
from tests.modules.cloudhub.cloud import Cloud, Join
from tests.support.apiserver import embedded_api
from tests.support.waiting import until

#: Seconds of a replica's Lease, which is renewed three times in them.
DURATION = 0.6

BEHIND = "the watch of leases has not shown in 1 s what was written: nodes that come are claimed"
AGAIN = "the watch of leases shows again what is written"


@pytest.fixture
async def api(tmp_path: Path, pki: Pki) -> AsyncIterator[KubeClient]:
    async with embedded_api(tmp_path, pki) as client:
        yield client


class Server:
    """The API server that serves the watches of Leases: it may hang, for good or for a time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.hangs = asyncio.Event()
        self.silent: list[Any] = []
        """a mark of each watch that shows nothing any more"""
        self._watches: list[Any] = []
        follow = KubeClient.follow

        async def silently(
            client: KubeClient, resource: Resource, namespace: Any, on_event: Any, **options: Any
        ) -> None:
            mark = object()

            def show(event: WatchEvent) -> None:
                if mark not in self.silent:
                    on_event(event)

            if resource is LEASES:
                self._watches.append(mark)
                if self.hangs.is_set():
                    self.silent.append(mark)
            await follow(client, resource, namespace, show, **options)

        monkeypatch.setattr(KubeClient, "follow", silently)

    def end_showing(self) -> None:
        """Show nothing more in the watches that there are; another server serves the next."""
        self.silent += self._watches


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Server:
    caplog.set_level("INFO")
    monkeypatch.setattr(checked_watch, "_PATIENCE", 1.0)
    return Server(monkeypatch)


async def left_behind(cloud: Cloud, join: Join) -> None:
    """Have a node held here that is not connected."""
    edge = await join(cloud)
    await cloud.expect(NODE, "connected")
    await edge.leave()
    await cloud.expect(NODE, "disconnected")


async def test_a_silent_watch_is_opened_anew_and_shows_who_has_taken_a_node(
    api: KubeClient, pki: Pki, join: Join, server: Server
) -> None:
    async with running(api, pki, duration=DURATION) as cloud:
        edge = await join(cloud)
        await cloud.expect(NODE, "connected")
        server.end_showing()
        await take(api, "b")
        await cloud.expect(NODE, "disconnected")
        assert (await edge.closed())[1].startswith("replaced by a newer connection")


async def test_a_node_is_claimed_by_a_write_while_the_watch_is_behind(
    api: KubeClient, pki: Pki, join: Join, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(api, pki, duration=DURATION) as cloud:
        await left_behind(cloud, join)
        server.hangs.set()
        server.end_showing()
        await until(lambda: caplog.text.count(BEHIND) > caplog.text.count(AGAIN))
        version = (await api.get(LEASES, LEASE, NAMESPACE))["metadata"]["resourceVersion"]
        edge = await join(cloud)
        await cloud.expect(NODE, "connected")
        found = await api.get(LEASES, LEASE, NAMESPACE)
        assert found["metadata"]["resourceVersion"] != version
        assert found["spec"]["leaseTransitions"] == 1
        await edge.leave()
        await cloud.expect(NODE, "disconnected")

        await take(api, "b")
        edge = await join(cloud)
        await cloud.expect(NODE, "connected")
        spec = await lease(api)
        assert (spec["holderIdentity"], spec["leaseTransitions"]) == ("a", 3)
        await edge.leave()
        await cloud.expect(NODE, "disconnected")
        assert caplog.text.count(BEHIND) == caplog.text.count(AGAIN) + 1

        server.hangs.clear()
        await until(lambda: caplog.text.count(BEHIND) == caplog.text.count(AGAIN))
        version = (await api.get(LEASES, LEASE, NAMESPACE))["metadata"]["resourceVersion"]
        await join(cloud)
        await cloud.expect(NODE, "connected")
        found = await api.get(LEASES, LEASE, NAMESPACE)
        assert found["metadata"]["resourceVersion"] == version
