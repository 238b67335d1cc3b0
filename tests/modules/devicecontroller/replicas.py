"""Replicas of the device controller, and the edges that one of them serves."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from modules.common.kube import OBJECTSYNCS, NotFound
from modules.common.wire.generations import V1_1, tell
from supervisor.api import KubernetesSettings, ReplicasSettings
from tests.modules.devicecontroller.api import Api
from tests.modules.devicecontroller.beta import NODE, Edge, make_device, make_model
from tests.modules.devicecontroller.controller import Controller, running
from tests.support.waiting import eventually

Json = dict[str, Any]


@asynccontextmanager
async def replica(api: Api, name: str, **settings: Any) -> AsyncIterator[Controller]:
    directory = api.settings.data_dir
    own = replace(
        api.settings,
        data_dir=directory / name,
        kubernetes=KubernetesSettings(kubeconfig=str(directory / "kubeconfig")),
        replicas=ReplicasSettings(
            enabled=True, name=name, **({"namespace": "default", "lease_duration": 3.0} | settings)
        ),
    )
    async with running(own, record="objectsync") as controller:
        yield controller


@asynccontextmanager
async def two_replicas(api: Api) -> AsyncIterator[tuple[Controller, Controller]]:
    async with replica(api, "a") as a, replica(api, "b") as b:
        yield a, b


async def sync_of(api: Api, obj: Json) -> Json | None:
    try:
        return await api.client.get(OBJECTSYNCS, f"{NODE}.{obj['metadata']['uid']}", "default")
    except NotFound:
        return None


async def is_recorded(api: Api, obj: Json) -> None:
    """Wait until the API has that the node has acknowledged an object."""

    def acknowledged(sync: Json | None) -> bool:
        version = ((sync or {}).get("status") or {}).get("objectResourceVersion")
        return version not in (None, "0")

    await eventually(lambda: sync_of(api, obj), acknowledged)


async def has_device(
    api: Api, controller: Controller, obj: Json | None = None
) -> tuple[Edge, Json]:
    """Have a connected edge of today take a device."""
    model = await make_model(api)
    device = await make_device(api, obj)
    edge = Edge(controller)
    await edge.connect()
    await edge.takes_device()
    await is_recorded(api, model)
    await is_recorded(api, device)
    return edge, device


async def alpha_connects(controller: Controller) -> Json:
    """Connect an edge of v1.1, which asks for its devices, and return them by their names."""
    await controller.hear(NODE, "", tell(V1_1), "connected", "cloudhub")
    await controller.hear(NODE, "membership/detail", b"{}", "get")
    answer = await controller.said()
    assert answer.resource == f"node/{NODE}/membership/detail"
    return {each["id"]: each for each in answer.content["devices"]}
