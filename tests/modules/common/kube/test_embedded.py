"""The client over TLS, with a client certificate, against the embedded API server."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from modules.common.kube import (
    CONFIGMAPS,
    NODES,
    PODS,
    AlreadyExists,
    Conflict,
    Invalid,
    KubeClient,
    NotFound,
    Reflector,
    WatchEvent,
)
from modules.common.pki.certificates import Pki
from tests.support.apiserver import embedded_api
from tests.support.waiting import DEADLINE


@pytest.fixture
async def api(tmp_path: Path, pki: Pki) -> AsyncIterator[KubeClient]:
    async with embedded_api(tmp_path, pki) as client:
        yield client


def configmap(name: str, **data: str) -> dict[str, Any]:
    return {"metadata": {"name": name}, "data": data}


async def test_every_verb(api: KubeClient) -> None:
    created = await api.create(CONFIGMAPS, configmap("c", a="1"), "default")
    assert created["kind"] == "ConfigMap"
    with pytest.raises(AlreadyExists):
        await api.create(CONFIGMAPS, configmap("c"), "default")
    patched = await api.patch(CONFIGMAPS, "c", {"data": {"b": "2"}}, "default")
    assert patched["data"] == {"a": "1", "b": "2"}
    with pytest.raises(Conflict):
        await api.replace(CONFIGMAPS, created, "default")
    replaced = await api.replace(CONFIGMAPS, {**patched, "data": {}}, "default")
    assert await api.get(CONFIGMAPS, "c", "default") == replaced
    json_patch = [{"op": "add", "path": "/data", "value": {"c": "3"}}]
    await api.patch(CONFIGMAPS, "c", json_patch, "default", type="json")
    items, version = await api.list(CONFIGMAPS, "default")
    assert [item["data"] for item in items if item["metadata"]["name"] == "c"] == [{"c": "3"}]
    assert int(version) > 0
    with pytest.raises(Conflict):
        await api.delete(CONFIGMAPS, "c", "default", uid="another")
    await api.delete(CONFIGMAPS, "c", "default", uid=created["metadata"]["uid"])
    with pytest.raises(NotFound):
        await api.get(CONFIGMAPS, "c", "default")
    with pytest.raises(NotFound):
        await api.patch(CONFIGMAPS, "c", {}, "default")


async def test_invalid_says_which_field(api: KubeClient) -> None:
    with pytest.raises(Invalid, match="spec.containers"):
        await api.create(PODS, {"metadata": {"name": "p"}, "spec": {}}, "default")


async def test_status_is_a_subresource(api: KubeClient) -> None:
    await api.create(NODES, {"metadata": {"name": "n"}})
    conditions = [{"type": "Ready", "status": "True"}]
    patch = {"status": {"conditions": conditions}}
    patched = await api.patch(NODES, "n", patch, type="strategic", subresource="status")
    assert patched["status"]["conditions"] == conditions


async def test_long_list_and_what_follows(api: KubeClient) -> None:
    events: list[WatchEvent] = []
    reflector = Reflector(api, CONFIGMAPS, events.append, namespace="default")
    for batch in range(0, 1100, 50):
        await asyncio.gather(
            *(
                api.create(CONFIGMAPS, configmap(f"c{n}"), "default")
                for n in range(batch, batch + 50)
            )
        )
    running = asyncio.create_task(reflector.run())
    async with asyncio.timeout(DEADLINE):
        await reflector.synced()
        mine = {name for _, name in reflector.store if name.startswith("c")}
        assert {f"c{n}" for n in range(1100)} <= mine
        await api.delete(CONFIGMAPS, "c7", "default")
        await api.patch(CONFIGMAPS, "c8", {"data": {"k": "v" * 900_000}}, "default")
        while events[-1].type != "MODIFIED":
            await asyncio.sleep(0.01)
    assert ("default", "c7") not in reflector.store
    assert events[-1].object["metadata"]["name"] == "c8"
    running.cancel()
    await asyncio.wait([running])
