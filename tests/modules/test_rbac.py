"""deploy/rbac grants what the modules ask of the API server, and nothing else.

Every request that the two controllers make is recorded while they go through all they do, against
the embedded API server over HTTP; the set of them is the set of the rights granted.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
import yaml

from modules.cloudhub.joining import rights as joining_rights
from modules.cloudhub.module import CloudHub
from modules.cloudhub.replicas import rights as replicas_rights
from modules.common.crds import manifests
from modules.common.kube import (
    CUSTOMRESOURCEDEFINITIONS,
    DEVICEMODELS,
    DEVICES,
    DEVICES_V1BETA1,
    DEVICESTATUSES,
    EVENTS,
    NODES,
    OBJECTSYNCS,
    PODS,
    SERVICEACCOUNTS,
)
from modules.common.kube.api_checks import NAMESPACE
from modules.common.kube.rights import Right as NamedRight
from modules.common.kube.transport import Request, Transport
from modules.common.pki.certificates import Pki
from modules.common.sync import object_syncs
from modules.common.sync.record_checks import FOR_OBJECTSYNCS
from modules.common.wire.generations import V1_23
from modules.devicecontroller import DeviceController
from modules.devicecontroller import rights as device_rights
from modules.edgecontroller import EdgeController
from modules.edgecontroller import rights as edge_rights
from modules.edgecontroller.downstream import registrations
from supervisor.api import Module, ReplicasSettings, Settings
from tests.modules.devicecontroller import beta
from tests.modules.devicecontroller.api import Api, running_api
from tests.modules.devicecontroller.controller import Controller, running
from tests.modules.devicecontroller.samples import LED, device, model
from tests.modules.devicecontroller.samples import NODE as DEVICE_NODE
from tests.modules.edgecontroller.cloud import Cloud, open_cloud
from tests.modules.edgecontroller.objects import NODE, node, pod
from tests.modules.edgecontroller.test_certificates import pem
from tests.modules.edgecontroller.test_certificates import request as certificate_request
from tests.modules.edgecontroller.test_events_of_edges import event
from tests.modules.edgecontroller.test_mirror_pods import mirror
from tests.modules.edgecontroller.today import with_token
from tests.support.apiserver import embedded_apiserver
from tests.support.checking import command
from tests.support.waiting import eventually

ROOT = Path(__file__).parents[2]
RBAC = ROOT / "deploy" / "rbac"
MODULES = {"edgecontroller", "devicecontroller"}
VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}

#: Which versions there are: whoever is authenticated may ask (ClusterRole system:discovery).
DISCOVERY = {
    "/apis/devices.kubeedge.io",
    "/apis/devices.kubeedge.io/v1alpha1",
    "/apis/devices.kubeedge.io/v1beta1",
}

Right = tuple[str, str, str]
"""(verb, API group, resource or resource/subresource)"""

#: Rights that the API server asks for besides: one to the signer of a request that is approved.
ALSO: dict[Right, list[Right]] = {
    ("update", "certificates.k8s.io", "certificatesigningrequests/approval"): [
        ("approve", "certificates.k8s.io", "signers")
    ],
    # An owner that blocks its own deletion (OwnerReferencesPermissionEnforcement).
    ("create", "devices.kubeedge.io", "devicestatuses"): [
        ("update", "devices.kubeedge.io", "devices/finalizers")
    ],
}


def right_of(request: Request) -> Right:
    """Return what a request takes, as RBAC names it."""
    kind, *parts = (unquote(part) for part in request.path.strip("/").split("/"))
    group = parts.pop(0) if kind == "apis" else ""
    _version, *parts = parts
    if len(parts) > 2 and parts[0] == "namespaces":
        parts = parts[2:]
    plural, name, subresource = (*parts, "", "")[:3]
    if request.method == "GET":
        watches = (request.query or {}).get("watch") == "true"
        verb = "get" if name else "watch" if watches else "list"
    else:
        verb = VERBS[request.method]
    return verb, group, f"{plural}/{subresource}" if subresource else plural


def granted(file: str, role: str, kind: str = "ClusterRole") -> set[Right]:
    documents = list(yaml.safe_load_all((RBAC / file).read_text()))
    (rules,) = (
        document["rules"]
        for document in documents
        if (document["kind"], document["metadata"]["name"]) == (kind, role)
    )
    return {
        (verb, group, resource)
        for rule in rules
        for verb in rule["verbs"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }


@pytest.fixture
async def api(tmp_path: Path, pki: Pki) -> AsyncIterator[Api]:
    async with running_api(tmp_path, pki) as api:
        yield api


@pytest.fixture
async def cloud(tmp_path: Path, pki: Pki) -> AsyncIterator[Cloud]:
    async with (
        embedded_apiserver(tmp_path, pki) as server,
        open_cloud(server, tmp_path) as cloud,
    ):
        yield cloud


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[set[Right]]:
    """What the controllers have asked for so far."""
    found: set[Right] = set()
    send = Transport.send

    async def noting(transport: Transport, request: Request) -> Any:
        if transport.module in MODULES and request.path not in DISCOVERY:
            right = right_of(request)
            found.add(right)
            found.update(ALSO.get(right, ()))
        return await send(transport, request)

    monkeypatch.setattr(Transport, "send", noting)
    return found


async def edge_controller_does_all_it_does(cloud: Cloud) -> None:
    await cloud.api.create(NODES, node())
    await cloud.api.create(PODS, pod("p"), "default")
    async with cloud.controller():
        for count in (1, 2):  # an Event, and its count
            await cloud.connect()
            await cloud.connect(connected=False)
            await eventually(
                lambda: cloud.api.list(EVENTS),
                lambda found, count=count: [e["count"] for e in found.items] == [count, count],
            )
        await cloud.connect()
        await cloud.from_edge("update", f"default/nodestatus/{NODE}", {"Status": {"phase": "x"}})
        annotated = {"metadata": {"annotations": {"a": "b"}}}
        await cloud.from_edge("update", f"default/node/{NODE}", annotated)
        unknown = {"Name": "unknown", "Status": {}}
        await cloud.from_edge("update", "default/podstatus/unknown", unknown)
        await cloud.until("delete", f"node/{NODE}/default/pod/unknown")
        await cloud.api.delete(PODS, "p", "default")
        ended = {"phase": "Succeeded", "containerStatuses": []}
        await cloud.from_edge("update", "default/podstatus/p", {"Name": "p", "Status": ended})
        await cloud.until("delete", f"node/{NODE}/default/pod/p")
        await cloud.refer_to("x")
        for kind in ("configmap", "secret", "service", "endpoints", "persistentvolume"):
            await cloud.from_edge("query", f"default/{kind}/x")
        for kind in ("persistentvolumeclaim", "volumeattachment"):
            await cloud.from_edge("query", f"default/{kind}/x")
        await cloud.answer_to(await cloud.from_edge("query", f"default/node/{NODE}"))
        await cloud.drain()
        await edges_of_today_do_all_they_do(cloud)


async def edges_of_today_do_all_they_do(cloud: Cloud) -> None:
    name = "edge-of-today"
    await cloud.call("insert", f"null/node/{name}", node(name), node=name)
    await cloud.call("patch", f"null/nodepatch/{name}", '{"status": {}}', node=name)
    csr = "default/certificatesigningrequest/csr"
    await cloud.call("insert", csr, certificate_request(pem(f"system:node:{name}")), node=name)
    await cloud.call("query", csr, node=name)
    uid = (await cloud.api.get(NODES, name))["metadata"]["uid"]
    static = mirror(uid, owner={"name": name}, nodeName=name)
    await cloud.call("insert", "default/pod/static-p", static, node=name)
    about = event(name, "Node", name)
    await cloud.ask("insert", "default/event/e", about, node=name)
    await cloud.ask("update", "default/event/e", about | {"count": 2}, node=name)
    for operation in ("query", "insert", "update"):
        await cloud.call(operation, f"kube-node-lease/lease/{name}", {"spec": {}}, node=name)
    volumes = [*with_token("")["volumes"], {"name": "d", "csi": {"driver": "d"}}]
    with_driver = {"serviceAccountName": "sa", "volumes": volumes}
    await cloud.api.create(SERVICEACCOUNTS, {"metadata": {"name": "sa"}}, "default")
    created = await cloud.api.create(PODS, pod("q", spec=with_driver), "default")
    await cloud.drain()
    await cloud.call("patch", "default/podpatch/q", '{"status": {}}')
    bound_to = {"kind": "Pod", "apiVersion": "v1", "name": "q", "uid": created["metadata"]["uid"]}
    request: Any = {"spec": {"audiences": None, "boundObjectRef": bound_to}}
    await cloud.connect(generation=V1_23)
    await cloud.call("query", "default/serviceaccounttoken/sa", request)
    request["spec"]["audiences"] = ["of the driver"]
    await cloud.call("query", "default/serviceaccounttoken/sa", request)
    await cloud.call("delete", "default/pod/q", {"gracePeriodSeconds": 0})
    await eventually(
        lambda: cloud.api.get(EVENTS, "e", "default"), lambda found: found["count"] == 2
    )


async def device_controller_does_all_it_does(api: Api, asked: set[Right]) -> None:
    async with running(api.settings) as controller:
        await api.create(DEVICES, device())
        await api.event("UnknownModel")
        await api.create(DEVICEMODELS, model())
        await api.profile(DEVICE_NODE, lambda text: text is not None)
        await api.create(DEVICES, device("another"))
        await api.profile(DEVICE_NODE, lambda text: text is not None and "another" in text)
        while ("get", "devices.kubeedge.io", "devices") not in asked:
            # Written while the controller is about to write: a conflict, sooner or later.
            await api.desire(LED, **{"power-status": "ON"})
            twin = {"power-status": {"actual": {"value": "ON"}, "metadata": {"type": "string"}}}
            await controller.hear(DEVICE_NODE, f"device/{LED}/twin/edge_updated", {"twin": twin})
            await api.desire(LED, **{"power-status": "OFF"})
        for name in (LED, "another"):
            await api.client.delete(DEVICES, name, "default")
        await api.profile(DEVICE_NODE, lambda text: text is None)
        await devices_of_today(api, controller, asked)


async def devices_of_today(api: Api, controller: Controller, asked: set[Right]) -> None:
    edge = beta.Edge(controller, "edge-of-today")
    await beta.make_model(api, beta.model("today"))
    await beta.make_device(api, beta.device(node="edge-of-today", deviceModelRef={"name": "today"}))
    await edge.connect()
    name, namespace = beta.LED, "default"
    await api.until(DEVICESTATUSES, name, namespace, lambda found: found is not None)
    await api.until(
        DEVICES_V1BETA1,
        name,
        namespace,
        lambda found: "conditions" in (found or {}).get("status", {}),
    )
    resource = f"node/edge-of-today/device/{beta.ID}/twin/edge_updated"
    report = beta.twin_update(power_status="ON")
    await controller.hear("edge-of-today", resource.split("/", 2)[2], report)
    await api.until(DEVICESTATUSES, name, namespace, lambda found: "twins" in found["status"])
    await api.client.delete(DEVICES_V1BETA1, name, namespace)
    await api.until(DEVICESTATUSES, name, namespace, lambda found: found is None)


async def test_rights_are_those_that_are_used(
    cloud: Cloud,
    api: Api,
    asked: set[Right],
) -> None:
    await edge_controller_does_all_it_does(cloud)
    await device_controller_does_all_it_does(api, asked)
    rights = granted("cloudcore.yaml", "cloudcore")
    assert asked - rights == set(), "missing in deploy/rbac/cloudcore.yaml"
    assert rights - asked == set(), "granted in deploy/rbac/cloudcore.yaml, and never used"


async def test_rights_for_installing_the_crds(api: Api, asked: set[Right]) -> None:
    for plural in manifests.NAMES:
        name = manifests.load(plural)["metadata"]["name"]
        await api.client.delete(CUSTOMRESOURCEDEFINITIONS, name)
    async with running(api.settings, install_crds=True) as controller:
        await controller.detail("devices", 0)
    more = asked - granted("cloudcore.yaml", "cloudcore")
    assert more == granted("optional/rights.yaml", "cloudcore-install-crds")


async def test_rights_without_a_status_subresource(api: Api, asked: set[Right]) -> None:
    await api.set_status_subresource(False)
    await api.create(DEVICEMODELS, model())
    async with running(api.settings):
        await api.create(DEVICES, device())
        await api.device(LED, lambda found: "conditions" in found.get("status", {}))
    assert asked - granted("cloudcore.yaml", "cloudcore") == set()


async def test_rights_for_the_record_in_the_api(
    cloud: Cloud, asked: set[Right], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(object_syncs, "_PAUSE", 0.1)
    monkeypatch.setattr(registrations, "HOLD", 0.0)
    monkeypatch.setattr(registrations, "SETTLE", 0.0)
    async with cloud.controller(record="objectsync"):
        await cloud.connect(generation=V1_23)
        await cloud.call("insert", f"null/node/{NODE}", node())
        await cloud.api.create(PODS, pod("p"), "default")
        await cloud.until("update", f"node/{NODE}/null/node/{NODE}")
        await eventually(lambda: cloud.api.list(OBJECTSYNCS), lambda found: bool(found.items))
        await cloud.api.delete(PODS, "p", "default", grace_period=0)
        await cloud.acknowledge(await cloud.until("delete", f"node/{NODE}/default/pod/p"))
        await eventually(lambda: cloud.api.list(OBJECTSYNCS), lambda found: not found.items)
    more = {right for right in asked if right[1] == "reliablesyncs.kubeedge.io"}
    more.add(("delete", "reliablesyncs.kubeedge.io", "clusterobjectsyncs"))  # a day later
    assert more == granted("optional/rights.yaml", "cloudcore-record-in-objectsyncs")


def listed(*tables: list[NamedRight]) -> set[Right]:
    return {(right.verb, right.group, right.resource) for table in tables for right in table}


def test_the_doctor_asks_for_the_rights_that_are_granted() -> None:
    tables = (edge_rights.RIGHTS, device_rights.RIGHTS, joining_rights.RIGHTS[-1:])
    assert listed(*tables) == granted("cloudcore.yaml", "cloudcore")
    joining = [right for right in joining_rights.RIGHTS if right.namespace == "kubeedge"]
    assert listed(joining) == granted("cloudcore.yaml", "cloudcore-joining", "Role")
    syncs = granted("optional/rights.yaml", "cloudcore-record-in-objectsyncs")
    assert listed(FOR_OBJECTSYNCS) == syncs
    replicas = granted("optional/rights.yaml", "cloudcore-replicas")
    for_replicas = [*edge_rights.FOR_REPLICAS, *device_rights.FOR_REPLICAS]
    assert listed([right for right in for_replicas if not right.namespace]) == replicas
    leases = granted("optional/rights.yaml", "cloudcore-replicas", "Role")
    in_namespace = [right for right in for_replicas if right.namespace]
    assert listed(replicas_rights.RIGHTS, in_namespace) == leases
    assert listed(device_rights.FOR_CRDS) == granted(
        "optional/rights.yaml", "cloudcore-install-crds"
    )


def test_every_module_with_rights_of_replicas_has_them_checked(tmp_path: Path) -> None:
    modules = ROOT / "modules"
    tables = (*modules.glob("*/rights.py"), *modules.glob("*/replicas/rights.py"))
    of_replicas = {
        path.relative_to(modules).parts[0]
        for path in tables
        if path.parent.name == "replicas" or "FOR_REPLICAS" in path.read_text()
    }
    classes: list[type[Module]] = [CloudHub, EdgeController, DeviceController]
    assert of_replicas == {cls.name for cls in classes}
    for cls in classes:
        for enabled in (True, False):
            settings = Settings(tmp_path, tmp_path, replicas=ReplicasSettings(enabled))
            titles = [check.title for check in cls.checks(cls.Config(), settings, command)]
            title = f"the rights of {cls.name} as one of several replicas"
            assert (title in titles) is enabled


def test_the_roles_are_in_the_namespace_that_the_doctor_names() -> None:
    for file in ("cloudcore.yaml", "optional/rights.yaml"):
        for document in yaml.safe_load_all((RBAC / file).read_text()):
            if document["kind"] in {"Role", "RoleBinding"}:
                assert document["metadata"]["namespace"] == NAMESPACE


def test_every_role_is_bound_to_the_service_account() -> None:
    documents = [
        document
        for file in ("cloudcore.yaml", "optional/rights.yaml")
        for document in yaml.safe_load_all((RBAC / file).read_text())
    ]
    roles = [d["metadata"]["name"] for d in documents if d["kind"] == "ClusterRole"]
    bindings = [d for d in documents if d["kind"] == "ClusterRoleBinding"]
    assert [binding["roleRef"]["name"] for binding in bindings] == roles
    account = {"kind": "ServiceAccount", "name": "cloudcore", "namespace": "kubeedge"}
    assert all(binding["subjects"] == [account] for binding in bindings)
    assert [d["metadata"] for d in documents if d["kind"] == "ServiceAccount"] == [
        {"name": "cloudcore", "namespace": "kubeedge"}
    ]
