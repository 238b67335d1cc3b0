"""Pods as today's API servers make them: with a token that an edge of v1.1 cannot get."""

from __future__ import annotations

import asyncio

from modules.common.kube import PODS
from tests.modules.edgecontroller.cloud import Cloud
from tests.modules.edgecontroller.objects import NODE, pod
from tests.support.waiting import DEADLINE

TOKEN = {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}}
CA = {"configMap": {"items": [{"key": "ca.crt", "path": "ca.crt"}], "name": "kube-root-ca.crt"}}
NAMESPACE = {
    "downwardAPI": {
        "items": [
            {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}, "path": "n"}
        ]
    }
}
OTHER = {"name": "other", "emptyDir": {}}


def access(*sources: object) -> dict[str, object]:
    """Make the volume that the admission of service accounts adds."""
    return {"name": "kube-api-access", "projected": {"defaultMode": 420, "sources": list(sources)}}


async def test_a_pod_goes_without_its_token(running: Cloud) -> None:
    volumes = {"volumes": [access(TOKEN, CA, NAMESPACE), OTHER]}
    created = await running.api.create(PODS, pod("p", spec=volumes), "default")
    told = await running.until("insert", f"node/{NODE}/default/pod/p")
    assert told.content["spec"]["volumes"] == [access(CA, NAMESPACE), OTHER]
    assert created["spec"]["volumes"] == [access(TOKEN, CA, NAMESPACE), OTHER]
    await running.drain()
    # The API server's own state of it does not make it changed.
    status = {"status": {"phase": "Running"}}
    await running.api.patch(PODS, "p", status, "default", subresource="status")
    assert await running.drain() == []
    # What it acknowledges is the present state, although it was sent another form of an older one.
    await running.acknowledge(told)
    await running.drain()
    record = (running.settings.data_dir / "edgecontroller" / "told.jsonl").read_text
    version = (await running.api.get(PODS, "p", "default"))["metadata"]["resourceVersion"]
    async with asyncio.timeout(DEADLINE):
        while f'"{version}"' not in record():
            await asyncio.sleep(0.1)


async def test_a_volume_of_nothing_but_a_token_stays(running: Cloud) -> None:
    """Empty: the containers mount it by its name."""
    await running.api.create(PODS, pod("p", spec={"volumes": [access(TOKEN)]}), "default")
    told = await running.until("insert", f"node/{NODE}/default/pod/p")
    assert told.content["spec"]["volumes"] == [access()]
