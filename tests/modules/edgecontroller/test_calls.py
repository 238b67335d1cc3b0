"""Calls of edges of today: each row with its answer, field by field, against an API server."""

from __future__ import annotations

import base64
import json
import logging
from contextlib import suppress
from typing import Any

import msgspec
import pytest

from modules.common.kube import (
    CONFIGMAPS,
    LEASES,
    NODES,
    PODS,
    SECRETS,
    SERVICEACCOUNTS,
    AlreadyExists,
    KubeClient,
    NotFound,
)

from .cloud import Cloud
from .objects import NODE, Json, configmap, node, pod
from .today import (
    LEASE,
    OTHER,
    PATCH,
    REGISTERED,
    ROLES,
    bound,
    failure,
    fields,
    pod_patch,
    reason,
    register,
    responds,
    token_request,
    with_token,
    without_managed_fields,
)

# Node


@pytest.mark.parametrize("namespace", ["null", "default"])
async def test_a_node_registers(today: Cloud, namespace: str) -> None:
    answer = await today.call("insert", f"{namespace}/node/{NODE}", REGISTERED)
    assert fields(answer) == responds(f"{namespace}/node/{NODE}")
    assert answer.resource_version == ""
    created = without_managed_fields(await today.api.get(NODES, NODE))
    assert answer.content == {"Object": created, "Err": None}
    assert created["metadata"]["labels"] == REGISTERED["metadata"]["labels"]
    assert created["metadata"]["annotations"] == REGISTERED["metadata"]["annotations"]
    assert created["status"]["capacity"] == {"cpu": "2"}


async def test_a_node_that_exists_is_not_overwritten(today: Cloud) -> None:
    await today.api.create(NODES, node(NODE, spec={"unschedulable": True}))
    answer = await today.call("insert", f"null/node/{NODE}", REGISTERED)
    assert reason(answer) == (409, "AlreadyExists")
    found = await today.api.get(NODES, NODE)
    assert found["spec"] == {"unschedulable": True}


async def test_a_node_registers_without_labels_that_are_not_a_kubelets(
    today: Cloud, caplog: pytest.LogCaptureFixture
) -> None:
    refused = {
        "node-role.kubernetes.io/control-plane": "",
        "node-restriction.kubernetes.io/tenant": "a",
        "x.node-restriction.kubernetes.io/tenant": "a",
        "example.k8s.io/a": "b",
    }
    kept = {"example.com/a": "b", "plain": "c", "node.kubernetes.io/a": "b", **ROLES}
    labels = {"metadata": {"labels": refused | kept}}
    answer = await today.call("insert", f"null/node/{NODE}", labels)
    assert answer.content["Object"]["metadata"]["labels"] == kept
    (line,) = [text for text in caplog.messages if "may not have the labels" in text]
    assert all(label in line for label in refused)


async def test_a_node_that_is_no_edge_node_is_named_once(
    today: Cloud, caplog: pytest.LogCaptureFixture
) -> None:
    """Created by hand without the label: the edge waits for what it is never sent."""
    await today.api.create(NODES, {"metadata": {"name": NODE}})
    await today.drain()
    registered = {"metadata": {"labels": {"example.k8s.io/a": "b"} | ROLES}}
    for _ in range(3):
        answer = await today.call("insert", f"null/node/{NODE}", registered)
        assert reason(answer) == (409, "AlreadyExists")
    assert len([text for text in caplog.messages if "may not have the labels" in text]) == 1
    (line,) = [text for text in caplog.messages if "not as an edge node" in text]
    assert f"kubectl label node {NODE} node-role.kubernetes.io/edge=" in line


async def test_a_node_registers_itself_alone(today: Cloud) -> None:
    answer = await today.call("insert", f"null/node/{OTHER}", REGISTERED)
    assert reason(answer) == (403, "Forbidden")
    with pytest.raises(NotFound):
        await today.api.get(NODES, OTHER)


async def test_a_registration_that_is_no_node_has_an_answer(today: Cloud) -> None:
    answer = await today.call("insert", f"null/node/{NODE}", {"spec": {"taints": "none"}})
    assert reason(answer) == (400, "BadRequest")
    assert "spec.taints" in failure(answer)["message"]


async def test_a_node_patches_its_status(today: Cloud) -> None:
    await register(today)
    patch = {
        "status": {
            "$setElementOrder/conditions": [{"type": "Ready"}],
            "conditions": [{"type": "Ready", "status": "True"}],
            "addresses": [{"$patch": "replace"}, {"type": "InternalIP", "address": "10.0.0.1"}],
        },
        "metadata": {"annotations": {"a": "b"}, "labels": {"node.kubernetes.io/x": "y"}},
    }
    answer = await today.call("patch", PATCH, msgspec.json.encode(patch).decode())
    assert fields(answer) == responds(PATCH)
    patched = without_managed_fields(await today.api.get(NODES, NODE))
    assert answer.content == {"Object": patched, "Err": None}
    assert answer.resource_version == patched["metadata"]["resourceVersion"]
    assert patched["status"]["conditions"] == [{"type": "Ready", "status": "True"}]
    assert patched["status"]["addresses"] == [{"type": "InternalIP", "address": "10.0.0.1"}]
    assert patched["metadata"]["annotations"]["a"] == "b"


async def test_the_patch_of_a_node_that_is_gone_says_so(today: Cloud) -> None:
    assert reason(await today.call("patch", PATCH, '{"status": {}}')) == (404, "NotFound")


NOT_ITS_OWN: list[tuple[str, Any]] = [
    (NODE, {"spec": {"taints": []}}),
    (NODE, {"$patch": "delete"}),
    (NODE, {"metadata": {"ownerReferences": []}}),
    (NODE, {"metadata": None}),
    (NODE, {"metadata": {"labels": {"node-role.kubernetes.io/master": ""}}}),
    (NODE, {"metadata": {"labels": {"node-role.kubernetes.io/edge": None}}}),
    (NODE, {"metadata": {"labels": {"kubernetes.io/x/hostname": ""}}}),
    (NODE, {"metadata": {"labels": {"$patch": "replace"}}}),
    (NODE, {"metadata": {"labels": None}}),
    (OTHER, {"status": {"conditions": []}}),
]


@pytest.mark.parametrize(("name", "patch"), NOT_ITS_OWN, ids=str)
async def test_a_node_patches_nothing_else(today: Cloud, name: str, patch: Any) -> None:
    await register(today)
    await today.api.create(NODES, node(OTHER))
    before = [await today.api.get(NODES, each) for each in (NODE, OTHER)]
    text = msgspec.json.encode(patch).decode()
    answer = await today.call("patch", f"null/nodepatch/{name}", text)
    assert reason(answer) == (403, "Forbidden")
    assert [await today.api.get(NODES, each) for each in (NODE, OTHER)] == before


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '"x"', "5", '{"status": {"images": ["' + "x" * 2**22]
)
async def test_a_patch_that_is_none_has_an_answer(
    today: Cloud, caplog: pytest.LogCaptureFixture, text: str
) -> None:
    answer = await today.call("patch", PATCH, text)
    assert reason(answer) == (400, "BadRequest")
    assert f"cannot use message 'patch' 'node/{NODE}/{PATCH}'" in caplog.text


# Lease


async def test_a_node_creates_and_renews_its_lease(today: Cloud) -> None:
    found = await register(today)
    answer = await today.call("query", LEASE)
    assert fields(answer) == responds(LEASE)
    assert reason(answer) == (404, "NotFound")
    owner = {"apiVersion": "v1", "kind": "Node", "name": NODE, "uid": found["metadata"]["uid"]}
    lease: Json = {
        "metadata": {
            "name": NODE,
            "namespace": "kube-node-lease",
            "creationTimestamp": None,
            "ownerReferences": [owner],
        },
        "spec": {
            "holderIdentity": NODE,
            "leaseDurationSeconds": 40,
            "renewTime": "2026-01-01T00:00:00.000000Z",
        },
    }
    created = await today.call("insert", LEASE, lease)
    stored = without_managed_fields(await today.api.get(LEASES, NODE, "kube-node-lease"))
    assert created.content == {"Object": stored, "Err": None}
    assert (fields(created), created.resource_version) == (responds(LEASE), "")
    assert reason(await today.call("insert", LEASE, lease)) == (409, "AlreadyExists")
    assert (await today.call("query", LEASE)).content == {"Object": stored, "Err": None}
    stored["spec"]["renewTime"] = "2026-01-01T00:00:10.000000Z"
    renewed = await today.call("update", LEASE, stored)
    assert renewed.content["Err"] is None
    assert renewed.content["Object"]["spec"] == stored["spec"]
    assert reason(await today.call("update", LEASE, stored)) == (409, "Conflict")


@pytest.mark.parametrize("operation", ["query", "insert", "update"])
@pytest.mark.parametrize("lease", [f"kube-node-lease/lease/{OTHER}", f"default/lease/{NODE}"])
async def test_a_node_has_one_lease(today: Cloud, operation: str, lease: str) -> None:
    answer = await today.call(operation, lease, {"spec": {"holderIdentity": NODE}})
    assert reason(answer) == (403, "Forbidden")
    assert (await today.api.list(LEASES)).items == []


# Pod


async def test_a_node_patches_the_status_of_its_pod(today: Cloud) -> None:
    await register(today)
    created = await bound(today)
    patch = pod_patch(created["metadata"]["uid"], phase="Running")
    answer = await today.call("patch", "default/podpatch/p", patch)
    patched = without_managed_fields(await today.api.get(PODS, "p", "default"))
    assert fields(answer) == responds("default/podpatch/p")
    assert answer.content == {"Object": patched, "Err": None}
    assert answer.resource_version == patched["metadata"]["resourceVersion"]
    assert patched["status"]["phase"] == "Running"


async def test_a_patch_is_for_the_pod_whose_rights_were_checked(
    today: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another pod of that name may be created, on another node, before the patch arrives."""
    await register(today)
    before = await bound(today)
    patch = KubeClient.patch

    async def late(client: KubeClient, resource: Any, name: str, *args: Any, **more: Any) -> Json:
        if resource is PODS and args[0].get("status") == {"phase": "Failed"}:
            await today.api.delete(PODS, name, "default", grace_period=0)
            await today.api.create(PODS, pod(name, OTHER), "default")
        return await patch(client, resource, name, *args, **more)

    monkeypatch.setattr(KubeClient, "patch", late)
    answer = await today.call("patch", "default/podpatch/p", '{"status": {"phase": "Failed"}}')
    assert reason(answer)[0] == 422
    found = await today.api.get(PODS, "p", "default")
    assert found["metadata"]["uid"] != before["metadata"]["uid"]
    assert found["status"].get("phase") != "Failed"


async def test_patches_of_a_pod_are_applied_in_their_order(today: Cloud) -> None:
    await register(today)
    uid = (await bound(today))["metadata"]["uid"]
    questions = [
        await today.ask("patch", "default/podpatch/p", pod_patch(uid, message=text))
        for text in "abcdefgh"
    ]
    found = [(await today.answer_to(each)).content["Object"] for each in questions]
    assert [each["status"]["message"] for each in found] == list("abcdefgh")


async def test_the_patch_of_an_earlier_pod_changes_nothing(today: Cloud) -> None:
    await register(today)
    await bound(today)
    answer = await today.call("patch", "default/podpatch/p", pod_patch("another", phase="Failed"))
    assert reason(answer)[0] == 422
    assert (await today.api.get(PODS, "p", "default"))["status"].get("phase") != "Failed"


async def test_the_patch_of_a_pod_that_is_gone_says_so(today: Cloud) -> None:
    answer = await today.call("patch", "default/podpatch/p", pod_patch("u", phase="Failed"))
    assert reason(answer) == (404, "NotFound")


NOT_A_STATUS: list[Any] = [
    {"spec": {"nodeName": "x"}},
    {"metadata": {"labels": {"a": "b"}}},
    {"metadata": {"ownerReferences": []}},
    {"metadata": {"finalizers": []}},
    {"status": None},
    {"status": {"$patch": "replace"}},
    {"status": {"resourceClaimStatuses": []}},
    {"status": {"$setElementOrder/resourceClaimStatuses": []}},
    {"status": {"extendedResourceClaimStatus": None}},
]


@pytest.mark.parametrize("patch", NOT_A_STATUS, ids=str)
async def test_a_node_patches_nothing_else_of_a_pod(today: Cloud, patch: Any) -> None:
    await register(today)
    before = await bound(today)
    text = msgspec.json.encode(patch).decode()
    answer = await today.call("patch", "default/podpatch/p", text)
    assert reason(answer) == (403, "Forbidden")
    assert await today.api.get(PODS, "p", "default") == before


async def test_a_node_neither_patches_nor_deletes_pods_of_others(today: Cloud) -> None:
    await register(today)
    before = await bound(today, on=OTHER)
    uid = before["metadata"]["uid"]
    for patch in ('{"status": {}}', pod_patch(uid), pod_patch("other", phase="Failed")):
        answer = await today.call("patch", "default/podpatch/p", patch)
        assert reason(answer) == (403, "Forbidden")
    for options in ({}, {"preconditions": {"uid": uid}}, uid):
        answer = await today.call("delete", "default/pod/p", options)
        assert answer.operation == "error"
        assert "is forbidden" in answer.content
    assert await today.api.get(PODS, "p", "default") == before


@pytest.mark.parametrize("as_text", [False, True])
async def test_a_pod_that_has_ended_is_deleted(today: Cloud, *, as_text: bool) -> None:
    await register(today)
    uid = (await bound(today))["metadata"]["uid"]
    options = {"gracePeriodSeconds": 0, "preconditions": {"uid": uid}}
    answer = await today.call("delete", "default/pod/p", uid if as_text else options)
    assert (fields(answer), answer.content) == (responds("default/pod/p"), "OK")
    with pytest.raises(NotFound):
        await today.api.get(PODS, "p", "default")


async def test_a_pod_that_is_gone_counts_as_deleted(today: Cloud) -> None:
    await register(today)
    answer = await today.call("delete", "default/pod/p", {"gracePeriodSeconds": 0})
    assert (answer.operation, answer.content) == ("response", "OK")
    await bound(today)
    another = {"gracePeriodSeconds": 0, "preconditions": {"uid": "another"}}
    answer = await today.call("delete", "default/pod/p", another)
    assert (answer.operation, answer.content) == ("response", "OK")
    assert await today.api.get(PODS, "p", "default")


async def test_a_deletion_that_is_none_has_an_answer(today: Cloud) -> None:
    answer = await today.call("delete", "default/pod/p", {"gracePeriodSeconds": "soon"})
    assert answer.operation == "error"
    assert "gracePeriodSeconds" in answer.content


# Queries


async def test_a_query_is_answered_with_the_object(today: Cloud) -> None:
    await register(today)
    await today.api.create(CONFIGMAPS, configmap("x", k="v"), "default")
    await today.api.create(SECRETS, {"metadata": {"name": "x"}, "data": {}}, "default")
    await today.refer_to("x")
    for kind, resource in (("configmap", CONFIGMAPS), ("secret", SECRETS)):
        answer = await today.call("query", f"default/{kind}/x")
        found = without_managed_fields(await today.api.get(resource, "x", "default"))
        assert fields(answer) == responds(f"default/{kind}/x")
        assert answer.content == found
        assert answer.content["kind"] == resource.kind
        assert answer.resource_version == found["metadata"]["resourceVersion"]


@pytest.mark.parametrize("kind", ["configmap", "secret", "persistentvolumeclaim"])
async def test_what_does_not_exist_is_an_error_and_no_object(today: Cloud, kind: str) -> None:
    await register(today)
    await today.refer_to("none")
    answer = await today.call("query", f"default/{kind}/none")
    assert (answer.source, answer.group, answer.operation) == (
        "edgecontroller",
        "resource",
        "error",
    )
    assert f'{kind}s "none" not found' in answer.content
    with pytest.raises(msgspec.DecodeError):
        msgspec.json.decode(answer.content)  # as the edge tries to


# Token


async def with_account(cloud: Cloud, name: str = "p", on: str = NODE) -> str:
    """Create a pod that uses the service account `sa`, and return its uid."""
    with suppress(AlreadyExists):
        await cloud.api.create(SERVICEACCOUNTS, {"metadata": {"name": "sa"}}, "default")
    spec = {"serviceAccountName": "sa", **with_token("")}
    created = await cloud.api.create(PODS, pod(name, on, spec=spec), "default")
    await cloud.drain()
    uid: str = created["metadata"]["uid"]
    return uid


async def test_a_pod_gets_a_token(today: Cloud, issued: list[Any]) -> None:
    await register(today)
    request = token_request(await with_account(today))
    answer = await today.call("query", "default/serviceaccounttoken/sa", request)
    assert fields(answer) == responds("default/serviceaccounttoken/sa")
    assert answer.resource_version == ""
    assert answer.content["spec"] == request["spec"]
    _, claims, _ = answer.content["status"]["token"].split(".")
    bound_to = json.loads(base64.urlsafe_b64decode(claims + "=="))["kubernetes.io"]["pod"]
    assert bound_to == {key: request["spec"]["boundObjectRef"][key] for key in ("name", "uid")}
    assert issued == [("sa", "default", request["spec"])]


async def test_no_token_is_issued_for_what_is_no_pod_of_the_node(
    today: Cloud, issued: list[Any]
) -> None:
    await register(today)
    uid = await with_account(today)
    foreign = await with_account(today, "foreign", OTHER)
    bare = await bound(today, "bare")
    refused = [
        ("sa", token_request("another")),
        ("sa", token_request("")),
        ("sa", token_request(uid, "none")),
        ("sa", token_request(uid, kind="Secret")),
        ("sa", token_request(uid, apiVersion="v2")),
        ("sa", token_request(foreign, "foreign")),
        ("sa", token_request(bare["metadata"]["uid"], "bare")),
        ("admin", token_request(uid)),
        ("sa", {"spec": {}}),
        ("sa", {"spec": token_request(uid)["spec"] | {"audiences": ["vault"]}}),
    ]
    for account, request in refused:
        answer = await today.call("query", f"default/serviceaccounttoken/{account}", request)
        assert answer.operation == "error"
        assert "is forbidden" in answer.content
    answer = await today.call("query", "kube-system/serviceaccounttoken/sa", token_request(uid))
    assert answer.operation == "error"
    assert issued == []


async def test_a_token_is_not_logged(
    today: Cloud, issued: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    await register(today)
    request = token_request(await with_account(today))
    answer = await today.call("query", "default/serviceaccounttoken/sa", request)
    assert answer.content["status"]["token"] not in caplog.text
    assert len(issued) == 1
