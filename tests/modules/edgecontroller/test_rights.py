"""What an edge node may read: every kind, by who refers to the object."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, cast

import pytest
from prometheus_client import REGISTRY

from modules.common.kube import (
    CONFIGMAPS,
    CSIDRIVERS,
    NODES,
    PERSISTENTVOLUMECLAIMS,
    PERSISTENTVOLUMES,
    PODS,
    SECRETS,
    VOLUMEATTACHMENTS,
    KubeClient,
    NotFound,
    Resource,
)
from modules.common.kube.health import ApiHealth
from modules.common.message_resource import ObjectResource
from modules.common.sync.record import Record
from modules.edgecontroller.downstream import node_updates
from modules.edgecontroller.downstream.state import State
from modules.edgecontroller.upstream import denials
from modules.edgecontroller.upstream.authorization import Denied, Rights
from modules.edgecontroller.upstream.content import BoundObject, TokenRequest

from .cloud import Cloud
from .objects import NODE, Json, configmap, node, pod, using
from .today import with_token

OTHER = "edge-node-2"


class Api:
    """Has what the tests put into it."""

    def __init__(self, objects: dict[tuple[Resource, str], Json]) -> None:
        self.objects = objects
        self.health = ApiHealth()

    async def get(self, resource: Resource, name: str, namespace: str | None = None) -> Json:
        try:
            return self.objects[resource, name]
        except KeyError:
            raise NotFound(404, "NotFound", f"{namespace}/{name}") from None


def volumes(name: str) -> Json:
    """Make the part of a pod's spec that refers to one object of each kind."""
    sources = [
        {"configMap": {"name": name}},
        {"secret": {"secretName": name}},
        {"persistentVolumeClaim": {"claimName": name}},
    ]
    return {"volumes": [{"name": f"v{n}", **source} for n, source in enumerate(sources)]}


def claimed(name: str, **source: Json) -> Json:
    """Make a persistent volume that is bound to the claim of its name."""
    return {
        "metadata": {"name": name},
        "spec": {"claimRef": {"namespace": "default", "name": name}, **source},
    }


def bound(name: str) -> Json:
    return {"metadata": {"name": name}, "spec": {"volumeName": name}}


class World:
    """Two nodes, and a pod on each."""

    def __init__(self, directory: Path) -> None:
        self.state = State(Record(directory / "told.jsonl"))
        self.api = Api({})
        self.rights = Rights(self.state, cast("KubeClient", self.api))
        for name in (NODE, OTHER):
            self.state.nodes["", name] = node(name)
        self.bind(pod("p1", NODE, spec=volumes("mine")))
        self.bind(pod("p2", OTHER, spec=volumes("theirs")))
        for name, on in (("mine", NODE), ("theirs", OTHER), ("nobodys", "")):
            self.bind(pod(name, on))
        for name, on in (("mine", NODE), ("theirs", OTHER), ("nobodys", "edge-node-3")):
            attachment = {"metadata": {"name": name}, "spec": {"nodeName": on}}
            self.api.objects[VOLUMEATTACHMENTS, name] = attachment
            self.api.objects[PERSISTENTVOLUMECLAIMS, name] = bound(name)
            self.api.objects[PERSISTENTVOLUMES, name] = claimed(name)

    def bind(self, obj: Json) -> None:
        key = (obj["metadata"]["namespace"], obj["metadata"]["name"])
        self.state.stores["pod"][key] = obj
        self.state.locations.place(key, obj)

    async def allows(self, kind: str, name: str, namespace: str = "default") -> bool:
        try:
            await self.rights.check_read(ObjectResource(NODE, namespace, kind, name))
        except Denied:
            return False
        return True


@pytest.fixture
def world(tmp_path: Path) -> Any:
    made = World(tmp_path)
    yield made
    made.state.record.close()


#: kind, and the names of the object that is the node's own, another's, nobody's, and of none
REFERRED = ("mine", "theirs", "nobodys", "none")
KINDS = {
    **dict.fromkeys(
        ("configmap", "secret", "persistentvolumeclaim", "persistentvolume", "volumeattachment"),
        REFERRED,
    ),
    "pod": REFERRED,
    "node": (NODE, OTHER, "edge-node-3", "none"),
}


@pytest.mark.parametrize("kind", KINDS)
async def test_a_node_reads_its_own_and_nothing_else(world: World, kind: str) -> None:
    allowed = [await world.allows(kind, name) for name in KINDS[kind]]
    assert allowed == [True, False, False, False]


@pytest.mark.parametrize("kind", ["service", "endpoints"])
async def test_what_every_node_is_told_of_every_node_reads(world: World, kind: str) -> None:
    assert all([await world.allows(kind, name) for name in REFERRED])


@pytest.mark.parametrize("kind", ["lease", "serviceaccount", "namespace", "", "*"])
async def test_what_has_no_rule_is_denied(world: World, kind: str) -> None:
    assert not any([await world.allows(kind, name) for name in REFERRED])


@pytest.mark.parametrize("kind", [*KINDS, "service", "endpoints"])
async def test_a_node_that_was_deleted_reads_nothing(world: World, kind: str) -> None:
    del world.state.nodes["", NODE]
    assert not await world.allows(kind, "mine")


async def test_a_node_reads_its_node_before_the_cache_has_it(world: World) -> None:
    """An edge before 1.23 asks for it as soon as it has registered it."""
    del world.state.nodes["", NODE]
    assert await world.allows("node", NODE)
    assert not await world.allows("node", OTHER)


@pytest.mark.parametrize("kind", ["configmap", "secret", "persistentvolumeclaim"])
async def test_another_namespace_is_another_object(world: World, kind: str) -> None:
    assert not await world.allows(kind, "mine", "kube-system")


def env(**source: str) -> Json:
    (kind, name), *_ = source.items()
    return {"env": [{"name": "A", "valueFrom": {kind: {"name": name, "key": "k"}}}]}


def env_from(kind: str, name: str) -> Json:
    return {"envFrom": [{kind: {"name": name}}]}


def volume(**source: Any) -> Json:
    return {"volumes": [{"name": "v", **source}]}


CONTAINERS = ("containers", "initContainers", "ephemeralContainers")
PLACES: list[tuple[str, Json]] = [
    *(("configmap", {kind: [env(configMapKeyRef="x")]}) for kind in CONTAINERS),
    *(("secret", {kind: [env(secretKeyRef="x")]}) for kind in CONTAINERS),
    *(("configmap", {kind: [env_from("configMapRef", "x")]}) for kind in CONTAINERS),
    *(("secret", {kind: [env_from("secretRef", "x")]}) for kind in CONTAINERS),
    ("configmap", volume(configMap={"name": "x"})),
    ("secret", volume(secret={"secretName": "x"})),
    ("configmap", volume(projected={"sources": [{"configMap": {"name": "x"}}]})),
    ("secret", volume(projected={"sources": [{"secret": {"name": "x"}}]})),
    ("secret", volume(csi={"nodePublishSecretRef": {"name": "x"}})),
    ("secret", {"imagePullSecrets": [{"name": "x"}]}),
    ("persistentvolumeclaim", volume(persistentVolumeClaim={"claimName": "x"})),
]


@pytest.mark.parametrize(("kind", "spec"), PLACES, ids=str)
async def test_every_place_of_a_pod_counts(world: World, kind: str, spec: Json) -> None:
    assert not await world.allows(kind, "x")
    world.bind(pod("refers", NODE, spec=spec))
    assert await world.allows(kind, "x")


async def test_the_claim_of_an_ephemeral_volume_counts(world: World) -> None:
    ephemeral = {"volumeClaimTemplate": {"spec": {}}}
    world.bind(pod("p", NODE, spec={"volumes": [{"name": "scratch", "ephemeral": ephemeral}]}))
    assert await world.allows("persistentvolumeclaim", "p-scratch")


@pytest.mark.parametrize(
    ("source", "namespace", "allowed"),
    [
        ({"csi": {"nodeStageSecretRef": {"name": "s", "namespace": "storage"}}}, "storage", True),
        ({"csi": {"nodePublishSecretRef": {"name": "s", "namespace": "storage"}}}, "storage", True),
        ({"csi": {"controllerPublishSecretRef": {"name": "s", "namespace": "x"}}}, "x", False),
        ({"cephfs": {"secretRef": {"name": "s"}}}, "default", True),
        ({"azureFile": {"secretName": "s", "secretNamespace": "storage"}}, "storage", True),
        ({"azureFile": {"secretName": "s"}}, "default", True),
        ({"hostPath": {"path": "/"}, "csi": "s", "nfs": {"secretRef": "s"}}, "default", False),
    ],
)
async def test_a_secret_that_mounts_a_volume_counts(
    world: World, source: Json, namespace: str, *, allowed: bool
) -> None:
    world.api.objects[PERSISTENTVOLUMES, "mine"] = claimed("mine", **source)
    world.api.objects[PERSISTENTVOLUMES, "theirs"] = claimed(
        "theirs", cephfs={"secretRef": {"name": "t"}}
    )
    assert await world.allows("secret", "s", namespace) is allowed
    assert not await world.allows("secret", "t")


async def test_a_volume_has_to_be_of_the_claim_too(world: World) -> None:
    """A claim may name any volume; the volume says whose it is."""
    stolen = claimed("theirs", cephfs={"secretRef": {"name": "t"}})
    world.api.objects[PERSISTENTVOLUMES, "theirs"] = stolen
    world.api.objects[PERSISTENTVOLUMECLAIMS, "mine"] = bound("theirs")
    assert not await world.allows("secret", "t")
    assert not await world.allows("persistentvolume", "theirs")


@pytest.mark.parametrize(("on", "allowed"), [(NODE, True), (OTHER, False)])
async def test_a_pod_that_the_cache_does_not_have_yet_is_read(
    world: World, on: str, *, allowed: bool
) -> None:
    """A mirror pod that its node has created a moment ago, under the name of another."""
    world.bind(pod("p", NODE, uid="before"))
    world.api.objects[PODS, "p"] = pod("p", on, uid="now")
    about = ObjectResource(NODE, "default", "pod", "p")
    assert (await world.rights.own_pod(about, "before"))["metadata"]["uid"] == "before"
    if allowed:
        assert (await world.rights.own_pod(about, "now"))["metadata"]["uid"] == "now"
    else:
        with pytest.raises(Denied):
            await world.rights.own_pod(about, "now")


TOKENS: list[tuple[Json, str, bool]] = [
    (with_token(""), "", True),
    (with_token(""), "vault", False),
    (with_token("vault"), "vault", True),
    (with_token("vault"), "", False),
    ({}, "", False),
    (volume(csi={"driver": "d"}), "store", True),
    (volume(csi={"driver": "d"}), "vault", False),
    (volume(csi={"driver": "none"}), "store", False),
    (volume(persistentVolumeClaim={"claimName": "mine"}), "store", True),
    (volume(persistentVolumeClaim={"claimName": "theirs"}), "store", False),
]


@pytest.mark.parametrize(("spec", "audience", "allowed"), TOKENS, ids=str)
async def test_a_token_is_for_an_audience_of_the_pods_volumes(
    world: World, spec: Json, audience: str, *, allowed: bool
) -> None:
    world.api.objects[PERSISTENTVOLUMES, "mine"] = claimed("mine", csi={"driver": "d"})
    world.api.objects[CSIDRIVERS, "d"] = {
        "metadata": {"name": "d"},
        "spec": {"tokenRequests": [{"audience": "store"}]},
    }
    world.bind(pod("p", NODE, uid="u", spec={"serviceAccountName": "sa", **spec}))
    asked = TokenRequest.Spec(
        audiences=[audience] if audience else None,
        bound_object_ref=BoundObject(kind="Pod", api_version="v1", name="p", uid="u"),
    )
    about = ObjectResource(NODE, "default", "serviceaccounttoken", "sa")
    if allowed:
        await world.rights.check_token(about, asked)
    else:
        with pytest.raises(Denied):
            await world.rights.check_token(about, asked)
    asked.audiences = [audience, "another"]
    with pytest.raises(Denied):
        await world.rights.check_token(about, asked)


@pytest.mark.parametrize("shape", [5, "x", [], None, {}])
async def test_objects_of_any_shape_allow_nothing(world: World, shape: Any) -> None:
    for resource in (PERSISTENTVOLUMES, PERSISTENTVOLUMECLAIMS, VOLUMEATTACHMENTS):
        world.api.objects[resource, "mine"] = {"metadata": {}, "spec": shape}
    assert not await world.allows("secret", "s")
    assert not await world.allows("persistentvolume", "mine")
    assert not await world.allows("volumeattachment", "mine")


# Against an API server


def denied_so_far(kind: str) -> float:
    labels = {"operation": "query", "type": kind}
    return REGISTRY.get_sample_value("cloudcore_edgecontroller_requests_denied_total", labels) or 0


async def test_a_denial_is_answered_counted_and_logged_once(
    running: Cloud, caplog: pytest.LogCaptureFixture
) -> None:
    secret = {"metadata": {"name": "top"}, "data": {"k": "c2VjcmV0"}}
    await running.api.create(SECRETS, secret, "default")
    before = denied_so_far("secret")
    for _ in range(5):
        question = await running.from_edge("query", "default/secret/top")
        answer = await running.answer_to(question)
        assert (answer.operation, answer.resource) == ("error", question.resource)
        assert "query default/secret/top is forbidden" in answer.content
        assert "c2VjcmV0" not in repr(answer)
    assert denied_so_far("secret") == before + 5
    lines = [text for text in caplog.messages if f"node {NODE} may not" in text]
    assert len(lines) == 1
    assert "query default/secret/top" in lines[0]


async def test_the_next_line_says_how_many_were_not_logged(
    running: Cloud, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    for pause in (60.0, 60.0, 60.0, 0.0):
        monkeypatch.setattr(denials, "_QUIET", pause)
        await running.answer_to(await running.from_edge("query", "default/secret/top"))
    lines = [text for text in caplog.messages if f"node {NODE} may not" in text]
    assert len(lines) == 2
    assert lines[1].endswith("2 more since the last such line")


async def test_after_its_node_was_deleted_an_edge_is_denied(running: Cloud) -> None:
    await running.api.create(CONFIGMAPS, configmap("cm", a="1"), "default")
    await running.refer_to("cm")
    question = await running.from_edge("query", "default/configmap/cm")
    assert (await running.answer_to(question)).operation == "response"
    await running.api.delete(NODES, NODE)
    await running.drain()
    question = await running.from_edge("query", "default/configmap/cm")
    assert "there is no edge node" in (await running.answer_to(question)).content


async def test_what_a_v1_1_edge_keeps_of_a_denial_is_deleted(
    running: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node_updates, "_KEPT", 0.0)
    data = {"metadata": {"name": "top"}, "data": {"k": "c2VjcmV0"}}
    await running.api.create(SECRETS, data, "default")
    for kind in ("secret", "persistentvolumeclaim"):
        await running.answer_to(await running.from_edge("query", f"default/{kind}/top"))
        deleted = await running.until("delete", f"node/{NODE}/default/{kind}/top")
        assert deleted.content.keys() == {"metadata"}
        await running.acknowledge(deleted)


async def test_only_so_many_denials_of_a_node_are_noted(
    running: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node_updates, "_MOST_DENIED", 3)
    for number in range(10):
        await running.answer_to(await running.from_edge("query", f"default/secret/s{number}"))
    await running.drain()
    path = running.settings.data_dir / "edgecontroller" / "told.jsonl"
    assert path.read_text().count('"denied"') == 3


async def test_what_a_pod_no_longer_uses_is_deleted_without_its_data(running: Cloud) -> None:
    await running.api.create(CONFIGMAPS, configmap("cm", secret="c2VjcmV0"), "default")
    await running.api.create(PODS, pod("p", spec=using("cm")), "default")
    await running.until("insert", f"node/{NODE}/default/pod/p")
    await running.api.delete(PODS, "p", "default", grace_period=0)
    deleted = await running.until("delete", f"node/{NODE}/default/configmap/cm")
    assert "c2VjcmV0" not in repr(deleted)


@pytest.mark.parametrize("kind", ["nodestatus", "node"])
async def test_a_node_writes_about_itself_alone(
    running: Cloud, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    content: Json = {"Status": {}, "metadata": {"annotations": {"a": "b"}}}
    await running.api.create(NODES, node(OTHER))
    for _ in range(3):
        message = await running.from_edge("update", f"default/{kind}/{OTHER}", content)
        answer = await running.answer_to(message)
        assert answer.operation == "error"
        assert "a node may write about itself alone" in answer.content
    assert caplog.text.count("may not update") == 1
    found = await running.api.get(NODES, OTHER)
    assert "annotations" not in found["metadata"]


@pytest.mark.parametrize("resource", ["../service/x", "default/service/..", "default/../x"])
async def test_no_name_is_a_step_of_a_path(
    running: Cloud, caplog: pytest.LogCaptureFixture, resource: str
) -> None:
    caplog.set_level(logging.WARNING)
    await running.from_edge("query", resource)
    await running.drain()
    assert "cannot use message 'query'" in caplog.text
