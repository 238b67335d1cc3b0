"""Whatever the API server hands out, one object is set aside by itself, and heals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ipc import Message
from modules.common.kube import ENDPOINTS, NODES, PODS, SERVICES, Resource
from modules.edgecontroller.downstream.decisions import Decisions
from modules.edgecontroller.downstream.due import Pending, Target
from modules.edgecontroller.objects import RESOURCES
from tests.support.mutations import mutated, whole

from .fakes import Bench, running
from .objects import NODE, Json, pod, using

CHUNK = 100


def good(resource: Resource, version: int) -> Json:
    """Make a whole object that NODE is told of, of another version each time."""
    if resource is NODES:
        return whole(NODES, name="other", resourceVersion=str(version))
    obj = whole(resource, name="good", namespace="default", resourceVersion=str(version))
    obj["metadata"]["labels"] = {"version": str(version)}
    if resource is PODS:
        obj["spec"]["nodeName"] = NODE
    if resource is ENDPOINTS:
        obj["subsets"][0]["addresses"][0]["ip"] = str(version)
    return obj


def told_as(type_: str) -> str:
    return f"node/{NODE}/default/{type_}/good"


async def need(bench: Bench) -> None:
    """Place a pod on NODE that needs the configmaps and the secrets of these tests."""
    named = ("good", "whole")
    spec = using(*named) | {"imagePullSecrets": [{"name": name} for name in named]}
    bench.feed(PODS, pod("needy", uid="u-needy", resourceVersion="1", spec=spec))
    await bench.settle()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("type_", RESOURCES, ids=str)
async def test_every_field_is_anything(
    type_: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The good object of its kind is told all the while, and nothing was a bug."""
    resource = RESOURCES[type_]
    namespace = {"namespace": "default"} if resource.namespaced else {}
    obj = whole(resource, **namespace)
    if resource is PODS:
        obj["spec"]["nodeName"] = NODE
    async with running(tmp_path / "data") as bench:
        await need(bench)
        fed: list[Any] = []
        for number, bad in enumerate(mutated(obj), 2):
            bench.feed(resource, bad, "MODIFIED")
            fed.append(bad)
            if number % CHUNK == 0:
                await check_that_it_goes_on(bench, resource, type_, number)
                for each in fed:
                    bench.feed(resource, each, "DELETED")
                fed.clear()
        await check_that_it_goes_on(bench, resource, type_, 0)
    assert "a bug in cloudcore" not in caplog.text, caplog.text[-3000:]
    assert "Traceback" not in caplog.text


async def check_that_it_goes_on(bench: Bench, resource: Resource, type_: str, number: int) -> None:
    await bench.settle()
    bench.told()
    bench.feed(resource, good(resource, number), "MODIFIED")
    await bench.settle()
    if resource is not NODES:
        told = bench.told()[told_as(type_)]
        assert told.content["metadata"]["resourceVersion"] == str(number)


async def test_a_pod_keeps_running_as_it_was_until_it_is_mended(tmp_path: Path) -> None:
    """Also over a restart of the controller, which then knows nothing of how it was."""
    resource = f"node/{NODE}/default/pod/p"
    async with running(tmp_path) as bench:
        bench.feed(PODS, pod("p", uid="u", resourceVersion="2"))
        await bench.settle()
        assert bench.told()[resource].operation == "insert"
        bench.feed(PODS, slip(3), "MODIFIED")
        await bench.settle()
        assert resource not in bench.told()
        [event] = [each for each in bench.api.events if each["reason"] == "InvalidObject"]
        assert event["involvedObject"]["name"] == "p"
        assert "spec.imagePullSecrets[0]: expected an object, got a string" in event["message"]
    async with running(tmp_path, slip(3)) as bench:
        assert resource not in bench.told()
        assert bench.controller.telemetry.details()["set_aside"] == 1
        bench.feed(PODS, pod("p", uid="u", resourceVersion="4"), "MODIFIED")
        await bench.settle()
        assert bench.told()[resource].operation == "update"
        assert bench.controller.telemetry.details()["set_aside"] == 0


async def test_one_that_went_while_it_was_set_aside_is_deleted_at_its_node(tmp_path: Path) -> None:
    async with running(tmp_path) as bench:
        bench.feed(PODS, pod("p", uid="u", resourceVersion="2"))
        await bench.settle()
    async with running(tmp_path, slip(3)) as bench:
        bench.told()
        bench.feed(PODS, slip(4), "DELETED")
        await bench.settle()
        assert bench.told()[f"node/{NODE}/default/pod/p"].operation == "delete"


@pytest.mark.parametrize("was_usable", [True, False], ids=["told before", "never told"])
async def test_the_deletion_of_one_that_is_set_aside_goes_on(
    tmp_path: Path, was_usable: bool
) -> None:
    """Its node ends what it was told of; of one that was told to nobody nobody would report."""
    async with running(tmp_path) as bench:
        if was_usable:
            bench.feed(PODS, pod("p", uid="u", resourceVersion="2"))
        bench.feed(PODS, slip(3), "MODIFIED")
        await bench.settle()
        bench.told()
        bench.feed(PODS, slip(4, deletionTimestamp="2026-01-02T03:04:05Z"), "MODIFIED")
        await bench.settle()
        told = bench.told().get(f"node/{NODE}/default/pod/p")
        assert bench.api.deleted == ([] if was_usable else [("pods", "p")])
        if was_usable:
            assert told
            assert told.content["metadata"]["deletionTimestamp"] == "2026-01-02T03:04:05Z"
            assert "imagePullSecrets" not in told.content["spec"]


def slip(version: int, **metadata: Any) -> Json:
    """Make the pod whose author has forgotten the `name:`."""
    spec = {"imagePullSecrets": ["regcred"]}
    return pod("p", uid="u", resourceVersion=str(version), spec=spec, **metadata)


async def test_a_list_that_no_message_carries_is_told_one_by_one(tmp_path: Path) -> None:
    async with running(tmp_path) as bench:
        bench.context.most = 2
        for number in range(3):
            bench.feed(SERVICES, whole(SERVICES, name=f"s{number}", namespace="default"))
        await bench.settle()
        bench.told()
        bench.hear(Message.build("cloudhub", "resource", "connected", f"node/{NODE}"))
        await bench.settle()
        told = bench.told()
        assert f"node/{NODE}/namespace/servicelist/service" not in told
        assert {f"node/{NODE}/default/service/s{number}" for number in range(3)} <= told.keys()


async def test_a_bug_in_telling_sets_one_object_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    decide = Decisions.decide

    def fail(self: Decisions, target: Target, pending: Pending) -> list[Message]:
        if target.name == "unlucky":
            raise ZeroDivisionError
        return decide(self, target, pending)

    async with running(tmp_path) as bench:
        monkeypatch.setattr(Decisions, "decide", fail)
        bench.feed(PODS, pod("unlucky", uid="u1", resourceVersion="2"))
        bench.feed(PODS, pod("lucky", uid="u2", resourceVersion="3"))
        await bench.settle()
        told = bench.told()
        assert f"node/{NODE}/default/pod/lucky" in told
        assert f"node/{NODE}/default/pod/unlucky" not in told
        assert "ZeroDivisionError" in caplog.text
        assert [each["reason"] for each in bench.api.events] == ["InternalError"]
        monkeypatch.setattr(Decisions, "decide", decide)
        bench.feed(
            PODS, pod("unlucky", uid="u1", resourceVersion="4", labels={"a": "b"}), "MODIFIED"
        )
        await bench.settle()
        assert f"node/{NODE}/default/pod/unlucky" in bench.told()


@pytest.mark.parametrize("type_", [*RESOURCES, "persistentvolume", "servicelist"])
async def test_a_bug_in_telling_ends_nothing(
    type_: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> list[Message]:
        raise ZeroDivisionError

    async with running(tmp_path) as bench:
        monkeypatch.setattr(Decisions, "decide", fail)
        bench.controller._state.due.mark(Target(NODE, type_, "null", NODE))
        await bench.settle()
    assert "ZeroDivisionError" in caplog.text


async def test_an_error_about_an_earlier_message_is_no_refusal_of_the_last(tmp_path: Path) -> None:
    resource = f"node/{NODE}/default/pod/p"
    async with running(tmp_path) as bench:
        refusing = bench.controller._updater._refusals._nodes
        sent = []
        for version in "23":
            told = pod("p", uid="u", resourceVersion=version, labels={"version": version})
            bench.feed(PODS, told, "MODIFIED")
            await bench.settle()
            sent.append(bench.told()[resource])
        bench.hear(sent[0].error("busy"))
        await bench.settle()
        assert NODE not in refusing
        bench.hear(sent[1].error("busy"))
        await bench.settle()
        assert NODE in refusing
