"""What kubectl says of what this server has not, and of typos: kubectl checks fields itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from modules.apiserver.http import openapi_v2
from tests.modules.apiserver.api import Api
from tests.modules.apiserver.samples import pod
from tests.support.kubectl import Kubectl

RBAC = Path(__file__).parents[3] / "deploy" / "rbac"
PROTOBUF = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
CONFIGMAP = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"a": "1"}}


async def test_a_list_is_applied(kubectl: Kubectl) -> None:
    listed = {"apiVersion": "v1", "kind": "List", "items": [CONFIGMAP, pod("p")]}
    output = await kubectl("apply", "-f", "-", stdin=listed)
    assert "configmap/a created" in output
    assert "pod/p created" in output
    again = json.loads(await kubectl("get", "cm,pods", "-o", "json"))
    assert "configmap/a" in await kubectl("apply", "-f", "-", stdin=again)


async def test_a_kind_that_is_missing_is_named(kubectl: Kubectl) -> None:
    deployment = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "x"}}
    output = await kubectl("apply", "-f", "-", stdin=deployment, expect=1)
    assert 'no matches for kind "Deployment" in version "apps/v1"' in output
    output = await kubectl("apply", "-f", str(RBAC), expect=1)
    for kind in ("ClusterRole", "ClusterRoleBinding"):
        assert f'no matches for kind "{kind}"' in output
    assert "serviceaccount/cloudcore created" in output


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"nodeNmae": "edge-1"}, 'unknown field "nodeNmae"'),
        (
            {"containers": [{"name": "c", "image": "x", "imagePullPolcy": "Never"}]},
            "imagePullPolcy",
        ),
        (
            {"containers": [{"name": "c", "image": "x", "ports": [{"containerPort": "80"}]}]},
            'got "string", expected "integer"',
        ),
        ({"containers": {}}, 'got "map", expected "array"'),
    ],
)
async def test_typos_are_found(kubectl: Kubectl, change: dict[str, Any], fault: str) -> None:
    output = await kubectl("apply", "-f", "-", stdin=pod("p", **change), expect=1)
    assert fault in output
    assert "No resources found" in await kubectl("get", "pods")


async def test_what_is_right_passes(kubectl: Kubectl) -> None:
    container = {
        "name": "c", "image": "nginx", "command": ["a"], "ports": [{"containerPort": 80}],
        "resources": {"limits": {"cpu": 1, "memory": "64Mi"}, "requests": {"cpu": "500m"}},
        "livenessProbe": {"httpGet": {"port": "http"}, "periodSeconds": 5},
        "readinessProbe": {"tcpSocket": {"port": 80}},
        "securityContext": {"privileged": False, "capabilities": {"add": ["NET_ADMIN"]}},
        "volumeMounts": [{"name": "v", "mountPath": "/v"}],
        "env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}],
    }  # fmt: skip
    full = pod(
        "p", containers=[container], hostNetwork=True, nodeName="edge-1",
        volumes=[{"name": "v", "hostPath": {"path": "/v"}}], tolerations=[{"operator": "Exists"}],
    )  # fmt: skip
    service = {
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"},
        "spec": {
            "selector": {"a": "b"},
            "ports": [{"name": "a", "port": 80, "targetPort": "http"}, {"name": "b", "port": 81}],
        },
    }  # fmt: skip
    secret = {**CONFIGMAP, "kind": "Secret", "stringData": {"a": "b"}, "data": None}
    lease = {
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "l"},
        "spec": {"holderIdentity": "me", "renewTime": "2020-01-01T00:00:00.000000Z"},
    }  # fmt: skip
    for obj in (full, service, secret, lease):
        assert "created" in await kubectl("apply", "-f", "-", stdin=obj)


async def test_server_side_apply_of_a_new_object(kubectl: Kubectl) -> None:
    output = await kubectl("apply", "--server-side", "-f", "-", stdin=CONFIGMAP, expect=1)
    assert "server-side apply is not supported by this server" in output


async def test_as_somebody_else(kubectl: Kubectl) -> None:
    output = await kubectl("get", "secrets", "-A", "--as=system:anonymous", expect=1)
    assert "impersonation is not supported by this server" in output


async def test_the_server_does_not_announce_what_it_does_not_do(api: Api) -> None:
    for path in (await api.call("GET", "/openapi/v3"))["paths"]:
        document = await api.call("GET", f"/openapi/v3/{path}")
        assert "fieldValidation" not in json.dumps(document)


async def test_media_types_of_version_2(api: Api) -> None:
    url = f"{api.server.url}/openapi/v2"
    for accept, found in (
        (PROTOBUF, PROTOBUF),
        ("application/com.github.proto-openapi.spec.v2@v1.0+protobuf", PROTOBUF),
        ("application/json", "application/json"),
        ("*/*", "application/json"),
        (f"text/html, {PROTOBUF};q=0.8, */*", PROTOBUF),
    ):
        async with api.session.get(url, headers={"Accept": accept}) as response:
            assert response.headers["Content-Type"] == found
            await response.read()
    status = await api.call("GET", "/openapi/v2", accept="application/yaml", expect=406)
    assert PROTOBUF in status["message"]
    definitions = (await api.call("GET", "/openapi/v2"))["definitions"]
    assert definitions["core_v1.ContainerPort"]["properties"]["containerPort"] == {
        "type": "integer"
    }


def test_lists_say_how_they_are_merged() -> None:
    """Kubectl up to 1.26 makes its patches from that."""
    definitions = openapi_v2.definitions()
    for model, field, strategy, key in (
        ("core_v1.PodSpec", "containers", "merge", "name"),
        ("core_v1.Container", "env", "merge", "name"),
        ("core_v1.PodSpec", "volumes", "merge,retainKeys", "name"),
        ("core_v1.NodeStatus", "conditions", "merge", "type"),
        ("core_v1.ServiceSpec", "ports", "merge", "port"),
        ("meta_v1.ObjectMeta", "finalizers", "merge", None),
    ):
        schema = definitions[model]["properties"][field]
        assert schema["x-kubernetes-patch-strategy"] == strategy
        assert schema.get("x-kubernetes-patch-merge-key") == key
