from __future__ import annotations

from typing import Any

import pytest

from modules.apiserver.kinds.pods import qos_class
from tests.modules.apiserver.api import Api
from tests.modules.apiserver.samples import pod

PODS = "/api/v1/namespaces/default/pods"


async def test_defaults_that_a_kubelet_counts_on(api: Api) -> None:
    probe = {"httpGet": {"port": 80}}
    made = await api.call(
        "POST",
        PODS,
        pod(
            containers=[
                {
                    "name": "c", "image": "registry:5000/x", "ports": [{"containerPort": 80}],
                    "livenessProbe": probe, "resources": {"limits": {"cpu": "1"}},
                    "env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "x"}}}],
                },
                {"name": "d", "image": "x:1"},
            ],
            volumes=[{"name": "v"}, {"name": "s", "secret": {"secretName": "s"}}],
            hostNetwork=True,
        ),
        expect=201,
    )  # fmt: skip
    spec, first = made["spec"], made["spec"]["containers"][0]
    assert made["status"] == {"phase": "Pending", "qosClass": "Burstable"}
    assert spec["restartPolicy"] == "Always"
    assert spec["terminationGracePeriodSeconds"] == 30
    assert spec["dnsPolicy"] == "ClusterFirst"
    assert spec["volumes"][:2] == [
        {"name": "v", "emptyDir": {}},
        {"name": "s", "secret": {"secretName": "s", "defaultMode": 420}},
    ]
    assert first["imagePullPolicy"] == "Always"
    assert spec["containers"][1]["imagePullPolicy"] == "IfNotPresent"
    assert first["terminationMessagePath"] == "/dev/termination-log"
    assert first["ports"] == [{"containerPort": 80, "protocol": "TCP", "hostPort": 80}]
    assert first["resources"] == {"limits": {"cpu": "1"}, "requests": {"cpu": "1"}}
    assert first["env"][0]["valueFrom"]["fieldRef"]["apiVersion"] == "v1"
    assert first["livenessProbe"]["httpGet"] == {"port": 80, "path": "/", "scheme": "HTTP"}
    assert first["livenessProbe"]["periodSeconds"] == 10


def test_qos_class() -> None:
    both = {"cpu": "1", "memory": "1Gi"}
    assert (
        qos_class({"containers": [{"resources": {"limits": both, "requests": both}}]})
        == "Guaranteed"
    )
    assert qos_class({"containers": [{"resources": {"requests": both}}]}) == "Burstable"
    assert qos_class({"containers": [{}]}) == "BestEffort"


async def test_an_unscheduled_pod_goes_at_once(api: Api) -> None:
    await api.call("POST", PODS, pod(), expect=201)
    await api.call("DELETE", f"{PODS}/p")
    await api.call("GET", f"{PODS}/p", expect=404)


async def test_a_pod_on_a_node_waits_for_the_node(api: Api) -> None:
    await api.call("POST", PODS, pod(node="n1"), expect=201)
    marked = await api.call("DELETE", f"{PODS}/p")
    metadata = marked["metadata"]
    assert metadata["deletionGracePeriodSeconds"] == 30
    assert metadata["deletionTimestamp"] > metadata["creationTimestamp"]
    assert metadata["generation"] == 2
    # Again, or with more time: nothing changes. With less: it does.
    assert await api.call("DELETE", f"{PODS}/p", {"gracePeriodSeconds": 60}) == marked
    shorter = await api.call("DELETE", f"{PODS}/p", {"gracePeriodSeconds": 5})
    assert shorter["metadata"]["deletionGracePeriodSeconds"] == 5
    # The edge still reports.
    await api.patch(f"{PODS}/p/status", {"status": {"phase": "Running"}})
    await api.call("DELETE", f"{PODS}/p", {"gracePeriodSeconds": 0})
    await api.call("GET", f"{PODS}/p", expect=404)


async def test_a_finished_pod_goes_at_once(api: Api) -> None:
    await api.call("POST", PODS, pod(node="n1"), expect=201)
    await api.patch(f"{PODS}/p/status", {"status": {"phase": "Succeeded"}})
    await api.call("DELETE", f"{PODS}/p")
    await api.call("GET", f"{PODS}/p", expect=404)


async def test_a_pod_with_finalizers_outlives_its_grace_period(api: Api) -> None:
    obj = pod(node="n1")
    obj["metadata"]["finalizers"] = ["x.io/wait"]
    await api.call("POST", PODS, obj, expect=201)
    await api.call("DELETE", f"{PODS}/p?gracePeriodSeconds=0")
    await api.call("GET", f"{PODS}/p")
    await api.patch(f"{PODS}/p", {"metadata": {"finalizers": []}})
    await api.call("GET", f"{PODS}/p", expect=404)


@pytest.mark.parametrize(
    ("patch", "code"),
    [
        ([{"op": "replace", "path": "/spec/containers/0/image", "value": "x:2"}], 200),
        ([{"op": "add", "path": "/spec/tolerations", "value": [{"key": "a"}]}], 200),
        ([{"op": "replace", "path": "/spec/restartPolicy", "value": "Never"}], 422),
        ([{"op": "add", "path": "/spec/nodeName", "value": "n2"}], 422),
        ([{"op": "add", "path": "/spec/containers/-", "value": {"name": "x", "image": "x"}}], 422),
    ],
)
async def test_what_can_be_changed_in_a_pod(api: Api, patch: Any, code: int) -> None:
    await api.call("POST", PODS, pod(), expect=201)
    await api.patch(f"{PODS}/p", patch, "json-patch", expect=code)


async def test_a_pod_gets_its_node_by_binding(api: Api) -> None:
    await api.call("POST", PODS, pod(), expect=201)
    binding = {"target": {"kind": "Node", "name": "n1"}}
    await api.call("POST", f"{PODS}/p/binding", binding, expect=201)
    assert (await api.call("GET", f"{PODS}/p"))["spec"]["nodeName"] == "n1"
    await api.call("POST", f"{PODS}/p/binding", binding, expect=409)


async def test_a_namespace_takes_its_contents_with_it(api: Api) -> None:
    await api.create("/api/v1/namespaces", metadata={"name": "team"})
    await api.create("/api/v1/namespaces/team/configmaps", metadata={"name": "a"})
    devices = "/apis/devices.kubeedge.io/v1alpha1/namespaces/team/devices"
    await api.create(devices, metadata={"name": "d"})
    await api.call("DELETE", "/api/v1/namespaces/team")
    await api.call("GET", "/api/v1/namespaces/team", expect=404)
    assert (await api.call("GET", "/api/v1/namespaces/team/configmaps"))["items"] == []
    assert (await api.call("GET", devices))["items"] == []


async def test_a_namespace_waits_for_the_pods_of_its_nodes(api: Api) -> None:
    pods = "/api/v1/namespaces/team/pods"
    await api.create("/api/v1/namespaces", metadata={"name": "team"})
    await api.call("POST", pods, pod(node="n1"), expect=201)
    ending = await api.call("DELETE", "/api/v1/namespaces/team")
    assert ending["status"]["phase"] == "Terminating"
    assert (await api.call("GET", f"{pods}/p"))["metadata"]["deletionTimestamp"]
    status = await api.call("POST", pods, pod("q"), expect=403)
    assert "being terminated" in status["message"]
    await api.call("DELETE", f"{pods}/p?gracePeriodSeconds=0")
    await api.call("GET", "/api/v1/namespaces/team", expect=404)


async def test_the_usual_namespaces_exist(api: Api) -> None:
    listed = await api.call("GET", "/api/v1/namespaces")
    names = {item["metadata"]["name"] for item in listed["items"]}
    assert {"default", "kube-system", "kube-public", "kubeedge"} <= names
    assert listed["items"][0]["metadata"]["labels"] == {"kubernetes.io/metadata.name": "default"}


async def test_a_namespaces_own_finalizers_and_its_contents_both_hold_it(api: Api) -> None:
    pods = "/api/v1/namespaces/team/pods"
    await api.create("/api/v1/namespaces", metadata={"name": "team", "finalizers": ["x.io/wait"]})
    await api.call("POST", pods, pod(node="n1"), expect=201)
    await api.call("DELETE", "/api/v1/namespaces/team")
    await api.patch("/api/v1/namespaces/team", {"metadata": {"finalizers": None}})
    await api.call("GET", f"{pods}/p")
    await api.call("GET", "/api/v1/namespaces/team")
    await api.call("DELETE", f"{pods}/p?gracePeriodSeconds=0")
    await api.call("GET", "/api/v1/namespaces/team", expect=404)
    await api.create("/api/v1/namespaces", metadata={"name": "team", "finalizers": ["x.io/wait"]})
    await api.call("DELETE", "/api/v1/namespaces/team")
    await api.call("GET", "/api/v1/namespaces/team")
    await api.patch("/api/v1/namespaces/team", {"metadata": {"finalizers": None}})
    await api.call("GET", "/api/v1/namespaces/team", expect=404)
