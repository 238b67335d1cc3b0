"""Static pods of edges, which they show in the API as mirror pods; and the pods that they read."""

from __future__ import annotations

from typing import Any

import pytest

from modules.common.kube import PODS, NotFound

from .cloud import Cloud
from .objects import NODE, Json, pod
from .today import OTHER, bound, fields, reason, register, responds, without_managed_fields

MIRROR = {"kubernetes.io/config.mirror": "hash"}


def mirror(uid: str, *, owner: Json | None = None, **spec: Any) -> Json:
    """Return a pod as a kubelet mirrors it; `uid` is that of its Node."""
    owned_by = {
        "apiVersion": "v1",
        "kind": "Node",
        "name": NODE,
        "uid": uid,
        "controller": True,
        **(owner or {}),
    }
    return pod("static-p", spec=spec, annotations=MIRROR, ownerReferences=[owned_by])


async def create(cloud: Cloud, content: Any) -> Any:
    return await cloud.call("insert", "default/pod/static-p", content)


async def test_a_node_shows_its_static_pod(today: Cloud) -> None:
    uid = (await register(today))["metadata"]["uid"]
    volumes = [
        {"name": "a", "hostPath": {"path": "/"}},
        {"name": "b", "projected": {"sources": [{"downwardAPI": {"items": []}}]}},
    ]
    answer = await create(today, mirror(uid, volumes=volumes))
    created = without_managed_fields(await today.api.get(PODS, "static-p", "default"))
    assert fields(answer) == responds("default/pod/static-p")
    assert answer.content == {"Object": created, "Err": None}
    assert answer.resource_version == created["metadata"]["resourceVersion"]
    assert created["metadata"]["annotations"] == MIRROR
    assert [volume["name"] for volume in created["spec"]["volumes"]] == ["a", "b"]


async def test_a_mirror_that_exists_comes_with_an_object(today: Cloud) -> None:
    """A kubelet reads annotations of the object of that answer (pod/mirror_client.go)."""
    uid = (await register(today))["metadata"]["uid"]
    await create(today, mirror(uid))
    answer = await create(today, mirror(uid))
    assert reason(answer) == (409, "AlreadyExists")
    assert answer.content["Object"]["metadata"] is not None


UID = "the Node's"
NO_MIRRORS: dict[str, Json] = {
    "no annotation": {"annotations": {}},
    "another node": {"spec": {"nodeName": OTHER}},
    "no node": {"spec": {"nodeName": ""}},
    "no owner": {"ownerReferences": []},
    "a service account": {"spec": {"serviceAccountName": "default"}},
    "a service account as of old": {"spec": {"serviceAccount": "default"}},
    "a pull secret": {"spec": {"imagePullSecrets": [{"name": "s"}]}},
    "resource claims": {"spec": {"resourceClaims": [{"name": "c"}]}},
    **{
        f"volume {next(iter(source))}": {"spec": {"volumes": [{"name": "v", **source}]}}
        for source in (
            {"secret": {"secretName": "s"}},
            {"configMap": {"name": "s"}},
            {"persistentVolumeClaim": {"claimName": "s"}},
            {"ephemeral": {"volumeClaimTemplate": {"spec": {}}}},
            {"csi": {"driver": "d"}},
            {"glusterfs": {"endpoints": "e", "path": "p"}},
            {"azureFile": {"secretName": "s", "shareName": "n"}},
            {"ofTheFuture": {}},
        )
    },
    **{
        f"projected {kind}": {
            "spec": {"volumes": [{"name": "v", "projected": {"sources": [{kind: {"name": "s"}}]}}]}
        }
        for kind in ("secret", "configMap", "serviceAccountToken", "clusterTrustBundle")
    },
}


@pytest.mark.parametrize("what", NO_MIRRORS)
async def test_a_node_creates_no_other_pods(today: Cloud, what: str) -> None:
    uid = (await register(today))["metadata"]["uid"]
    content = mirror(uid)
    change = NO_MIRRORS[what]
    content["spec"] |= change.get("spec", {})
    content["metadata"] |= {key: value for key, value in change.items() if key != "spec"}
    assert reason(await create(today, content)) == (403, "Forbidden")
    with pytest.raises(NotFound):
        await today.api.get(PODS, "static-p", "default")


@pytest.mark.parametrize(
    "owner",
    [
        {"kind": "ReplicaSet"},
        {"name": OTHER},
        {"uid": "another"},
        {"controller": False},
        {"blockOwnerDeletion": True},
    ],
    ids=str,
)
async def test_the_node_owns_its_mirrors(today: Cloud, owner: Json) -> None:
    uid = (await register(today))["metadata"]["uid"]
    assert reason(await create(today, mirror(uid, owner=owner))) == (403, "Forbidden")


async def test_a_node_deletes_a_mirror_as_soon_as_it_has_created_it(today: Cloud) -> None:
    """Also if the cache still has the one before it."""
    node_uid = (await register(today))["metadata"]["uid"]
    for _ in range(3):
        created = (await create(today, mirror(node_uid))).content["Object"]
        options = {
            "gracePeriodSeconds": 0,
            "preconditions": {"uid": created["metadata"]["uid"]},
        }
        answer = await today.call("delete", "default/pod/static-p", options)
        assert answer.content == "OK"
        with pytest.raises(NotFound):
            await today.api.get(PODS, "static-p", "default")


async def test_a_node_reads_its_pods_alone(today: Cloud) -> None:
    await register(today)
    await bound(today)
    await bound(today, "foreign", OTHER)
    answer = await today.call("query", "default/pod/p")
    found = without_managed_fields(await today.api.get(PODS, "p", "default"))
    assert (fields(answer), answer.content) == (responds("default/pod/p"), found)
    for name in ("foreign", "none"):
        answer = await today.call("query", f"default/pod/{name}")
        assert answer.operation == "error"
        assert "no relationship found" in answer.content
