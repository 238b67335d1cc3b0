"""Services of edges of v1.1: each replica deletes what others have sent."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from modules.common.kube import NODES, OBJECTSYNCS, SERVICES
from modules.common.wire.generations import V1_1
from supervisor.api import ReplicasSettings
from tests.support.waiting import eventually

from .cloud import Cloud
from .objects import NODE, Json, node

SERVICE: Json = {"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}}

pytestmark = pytest.mark.usefixtures("object_syncs_soon")


@pytest.fixture
async def one(cloud: Cloud) -> Cloud:
    cloud.settings = replace(cloud.settings, replicas=ReplicasSettings(enabled=True, name="a"))
    await cloud.api.create(NODES, node())
    return cloud


async def kinds_recorded(cloud: Cloud) -> list[str]:
    """Return the kinds of the objects named `s` that the API has in the record."""
    specs = [each["spec"] for each in (await cloud.api.list(OBJECTSYNCS, "default")).items]
    return [spec["objectKind"] for spec in specs if spec["objectName"] == "s"]


async def test_a_service_that_another_replica_has_sent_is_deleted(one: Cloud) -> None:
    await one.api.create(SERVICES, SERVICE, "default")
    async with one.controller(record="objectsync"):
        await one.connect(generation=V1_1)
        await one.until("update", f"node/{NODE}/namespace/servicelist/service")
        assert await kinds_recorded(one) == ["Service"]  # before the message
    await one.api.delete(SERVICES, "s", "default")
    for file in (one.settings.data_dir / "edgecontroller").iterdir():
        file.unlink()  # this one is another replica
    async with one.controller(record="objectsync"):
        await one.connect(generation=V1_1)
        await one.until("delete", f"node/{NODE}/default/service/s")


async def test_a_service_that_goes_while_its_edge_is_elsewhere_is_deleted(one: Cloud) -> None:
    await one.api.create(SERVICES, SERVICE, "default")
    async with one.controller(record="objectsync"):
        await one.api.delete(SERVICES, "s", "default")
        # It sees the deletion, and does not know whether another one has sent the service.
        details = one.context.details
        await eventually(
            lambda: asyncio.sleep(0, details["cached"]["services"]), lambda count: count == 1
        )
        assert await kinds_recorded(one) == []
        await one.connect(generation=V1_1)
        await one.until("delete", f"node/{NODE}/default/service/s")
