"""What is set aside: told once, by field, and used again when it is changed."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from modules.common.kube import (
    CONFIGMAPS,
    NODES,
    PODS,
    BadObject,
    KubeClient,
    Reflector,
    Subject,
    WatchEvent,
    check,
    metrics,
    shape_of,
)
from tests.support.aside import Events, make_set_aside
from tests.support.fakekube import FakeKube
from tests.support.shapes import TABLE, table

Object = dict[str, Any]


def configmap(name: str, version: int, data: Any = None, uid: str = "u") -> Object:
    metadata = {"name": name, "namespace": "default", "uid": uid, "resourceVersion": str(version)}
    return {"metadata": metadata, "data": data or {}}


def pod(**spec: Any) -> Object:
    return {"metadata": {"name": "p", "namespace": "default"}, "spec": spec}


class Watched:
    """A reflector of configmaps, of which `hear` can make any a bug of its listener."""

    def __init__(self) -> None:
        self.api, self.events = FakeKube("test"), Events()
        self.heard: list[tuple[str, str]] = []
        self.changes: list[tuple[str, str]] = []
        self.set_aside = make_set_aside(self.events)
        self.reflector = Reflector(
            cast("KubeClient", self.api),
            CONFIGMAPS,
            self.hear,
            keep=self.keep,
            set_aside=self.set_aside,
            on_aside=self.changes.append,
        )

    @staticmethod
    def keep(obj: Any) -> Object:
        check(obj, shape_of(CONFIGMAPS))
        found: Object = obj
        return found

    def hear(self, event: WatchEvent) -> None:
        if (event.object.get("data") or {}).get("bug"):
            raise ZeroDivisionError("with what is secret")
        self.heard.append((event.type, event.object["metadata"]["resourceVersion"]))

    async def run(self, *listed: Any) -> asyncio.Task[None]:
        self.api.lists[CONFIGMAPS.plural].extend(listed)
        task = asyncio.create_task(self.reflector.run())
        await self.reflector.synced()
        await asyncio.sleep(0)
        return task

    def feed(self, obj: Any, type_: str = "MODIFIED") -> None:
        self.api.feed(CONFIGMAPS, obj, type_)


@pytest.fixture
async def watched() -> Any:
    made = Watched()
    task = await made.run(configmap("good", 1))
    yield made
    assert not task.done(), task.exception()
    task.cancel()
    await asyncio.wait([task])


BAD = {"a": 3}


async def test_the_last_usable_state_stays_until_the_object_is_changed(watched: Watched) -> None:
    watched.feed(configmap("good", 2, BAD))
    assert watched.heard == [("ADDED", "1")]
    assert list(watched.reflector.aside) == [("default", "good")]
    assert watched.reflector.get("good", "default") == configmap("good", 1)
    [(involved, reason, message)] = watched.events.written
    assert (involved["kind"], involved["name"], reason) == ("ConfigMap", "good", "InvalidObject")
    assert message == "set aside: data[...]: expected a string, got an integer"
    watched.feed(configmap("good", 3, {"a": "b"}))
    assert watched.heard[1:] == [("MODIFIED", "3")]
    assert not watched.reflector.aside
    assert not watched.set_aside.count
    assert watched.changes == [("default", "good")] * 2


async def test_one_that_is_gone_is_forgotten(watched: Watched) -> None:
    watched.feed(configmap("bad", 2, BAD), "ADDED")
    watched.feed(configmap("bad", 3, BAD), "DELETED")
    watched.feed(configmap("good", 4, BAD))
    watched.feed(configmap("good", 5, BAD), "DELETED")
    assert not watched.reflector.aside
    assert not watched.set_aside.count
    assert watched.heard == [("ADDED", "1"), ("DELETED", "1")]


async def test_another_object_of_the_name_ends_the_usable_one(watched: Watched) -> None:
    watched.feed(configmap("good", 2, BAD, uid="another"), "ADDED")
    assert watched.heard == [("ADDED", "1"), ("DELETED", "1")]
    assert list(watched.reflector.aside) == [("default", "good")]


async def test_the_same_is_told_once(watched: Watched, caplog: pytest.LogCaptureFixture) -> None:
    counter = metrics.SET_ASIDE.labels("test", "configmaps")
    before = counter._value.get()
    for version in range(2, 5):
        watched.feed(configmap("bad", version, BAD))
    assert (len(caplog.records), len(watched.events.written)) == (1, 1)
    assert counter._value.get() == before + 1
    watched.feed(configmap("bad", 5, {"a": []}))
    assert (len(caplog.records), len(watched.events.written)) == (2, 2)


async def test_a_bug_sets_one_object_aside_with_its_traceback(
    watched: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    """The Event does not show what the exception says."""
    watched.feed(configmap("unlucky", 2, {"bug": "yes"}), "ADDED")
    watched.feed(configmap("other", 3), "ADDED")
    assert "ZeroDivisionError: with what is secret" in caplog.text
    [(_, reason, message)] = watched.events.written
    assert reason == "InternalError"
    assert message.endswith("a bug in cloudcore, whose log has the traceback (ZeroDivisionError)")
    assert watched.heard[-1] == ("ADDED", "3")
    watched.feed(configmap("unlucky", 4))
    assert not watched.reflector.aside


@pytest.mark.parametrize(
    "thing", [None, 3, [], {}, {"metadata": 3}, {"metadata": {}}, {"metadata": {"name": 3}}]
)
async def test_what_has_no_name_is_no_object(watched: Watched, thing: Any) -> None:
    watched.feed(thing)
    watched.feed(configmap("other", 3), "ADDED")
    assert watched.heard[-1] == ("ADDED", "3")
    assert not watched.events.written  # on what?


async def test_a_list_keeps_what_can_be_used_of_it() -> None:
    watched = Watched()
    task = await watched.run(configmap("a", 1), 3, configmap("bad", 2, BAD), configmap("b", 3))
    assert sorted(watched.reflector.store) == [("default", "a"), ("default", "b")]
    assert ("default", "bad") in watched.reflector.aside
    task.cancel()
    await asyncio.wait([task])


def test_an_item_of_isolation_does_not_end_the_rest() -> None:
    events = Events()
    set_aside = make_set_aside(events)
    subject = Subject.of(NODES, {"metadata": {"name": "n"}})
    with set_aside.isolating(subject):
        raise BadObject("spec", "is missing")
    assert [message for _, _, message in events.written] == ["set aside: spec: is missing"]


@pytest.mark.parametrize(
    ("obj", "problem"),
    [
        (pod(imagePullSecrets=["regcred"]), "spec.imagePullSecrets[0]: expected an object"),
        (pod(nodeName=["x"]), "spec.nodeName: expected a string, got an array"),
        (pod(containers=[{"envFrom": ["a"]}]), "spec.containers[0].envFrom[0]: expected an object"),
        (pod(activeDeadlineSeconds=2**63), "spec.activeDeadlineSeconds: expected an integer <="),
        (pod(unknown=10**30), "it cannot be put into a message: can't serialize ints"),
        (pod(unknown="x" * (17 << 20)), "it has 17825"),
        ({"metadata": {"name": "a/b", "namespace": "d"}}, "metadata.name: expected a name:"),
        ({"metadata": {"name": ".."}}, "metadata.name: expected a name:"),
        ({"metadata": {"name": "p"}}, "metadata.namespace: is missing"),
        ({}, "metadata: is missing"),
        ([], "expected an object, got an array"),
    ],
)
def test_what_is_wrong_is_said_with_its_path(obj: Any, problem: str) -> None:
    with pytest.raises(BadObject) as caught:
        check(obj, shape_of(PODS))
    assert str(caught.value).startswith(problem)


@pytest.mark.parametrize("quantity", ["500m", "10Mi", "1e3", "-1", "0.5", 1, 0.5, "5.", ".5k"])
def test_quantities_are_those_of_go(quantity: Any) -> None:
    check(pod(overhead={"cpu": quantity}), shape_of(PODS))


@pytest.mark.parametrize("quantity", ["", "x", "1 Gi", "1mm", True, []])
def test_what_is_no_quantity(quantity: Any) -> None:
    with pytest.raises(BadObject):
        check(pod(overhead={"cpu": quantity}), shape_of(PODS))


def test_the_table_is_that_of_the_pinned_models() -> None:
    """After an upgrade of lightkube: python -m tests.support.shapes."""
    assert TABLE.read_text() == table()
