"""What an edge stores of an answer is not older than what it was sent before the answer."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from modules.common.kube import CONFIGMAPS, NODES, PODS, KubeClient, Resource

from .cloud import Cloud
from .objects import NODE, Json, configmap, pod
from .today import PATCH, bound, pod_patch, reason, register

STATUS_OF_NODE = '{"status": {"phase": "Running"}}'


class SlowAnswers:
    """Answers to patches of a status and to reads of ConfigMaps, held back until `released`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.done = asyncio.Event()
        """it is written or read, and the answer is on its way"""
        self.released = asyncio.Event()
        self.reads = 0
        patch, get = KubeClient.patch, KubeClient.get

        async def slow(client: KubeClient, resource: Resource, *args: Any, **more: Any) -> Json:
            written = await patch(client, resource, *args, **more)
            if client.module == "edgecontroller" and more.get("subresource") == "status":
                self.done.set()
                await self.released.wait()
            return written

        async def counted(client: KubeClient, resource: Resource, *args: Any) -> Json:
            found = await get(client, resource, *args)
            if client.module == "edgecontroller":
                self.reads += 1
                if resource is CONFIGMAPS:
                    self.done.set()
                    await self.released.wait()
            return found

        monkeypatch.setattr(KubeClient, "patch", slow)
        monkeypatch.setattr(KubeClient, "get", counted)


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> SlowAnswers:
    return SlowAnswers(monkeypatch)


async def test_a_pod_that_is_deleted_before_the_answer_is_not_in_the_answer(
    today: Cloud, answers: SlowAnswers
) -> None:
    """An edge would store it again, and start it when it starts itself."""
    await register(today)
    uid = (await bound(today))["metadata"]["uid"]
    question = await today.ask("patch", "default/podpatch/p", pod_patch(uid, phase="Running"))
    await answers.done.wait()
    await today.api.delete(PODS, "p", "default", grace_period=0)
    await today.drain()  # the watch has shown it
    answers.released.set()
    assert reason(await today.answer_to(question)) == (404, "NotFound")


async def test_a_pod_of_the_same_name_is_not_the_answer(today: Cloud, answers: SlowAnswers) -> None:
    await register(today)
    uid = (await bound(today))["metadata"]["uid"]
    question = await today.ask("patch", "default/podpatch/p", pod_patch(uid, phase="Running"))
    await answers.done.wait()
    await today.api.delete(PODS, "p", "default", grace_period=0)
    await today.api.create(PODS, pod("p", NODE), "default")
    await today.drain()  # the watch has shown it
    answers.released.set()
    assert reason(await today.answer_to(question)) == (404, "NotFound")


async def test_a_pod_that_is_changed_before_the_answer_is_answered_as_it_is_now(
    today: Cloud, answers: SlowAnswers
) -> None:
    await register(today)
    uid = (await bound(today))["metadata"]["uid"]
    question = await today.ask("patch", "default/podpatch/p", pod_patch(uid, phase="Running"))
    await answers.done.wait()
    labels = {"metadata": {"labels": {"new": "label"}}}
    changed = await today.api.patch(PODS, "p", labels, "default")
    await today.drain()  # the watch has shown it
    answers.released.set()
    answer = await today.answer_to(question)
    version = changed["metadata"]["resourceVersion"]
    assert answer.resource_version == version
    found = answer.content["Object"]
    assert (found["metadata"]["labels"], found["status"]["phase"]) == ({"new": "label"}, "Running")
    assert found["metadata"]["resourceVersion"] == version


async def test_a_node_that_is_changed_before_the_answer_is_answered_as_it_is_now(
    today: Cloud, answers: SlowAnswers
) -> None:
    await register(today)
    question = await today.ask("patch", PATCH, STATUS_OF_NODE)
    await answers.done.wait()
    await today.api.patch(NODES, NODE, {"metadata": {"labels": {"new": "label"}}})
    await today.drain()  # the watch has shown it
    answers.released.set()
    answer = await today.answer_to(question)
    assert answer.content["Object"]["metadata"]["labels"]["new"] == "label"


async def test_a_configmap_that_is_changed_before_the_answer_is_answered_as_it_is_now(
    today: Cloud, answers: SlowAnswers
) -> None:
    await register(today)
    await today.api.create(CONFIGMAPS, configmap("c", k="old"), "default")
    await today.refer_to("c")
    question = await today.ask("query", "default/configmap/c")
    await answers.done.wait()
    await today.api.patch(CONFIGMAPS, "c", {"data": {"k": "new"}}, "default")
    await today.drain()
    answers.released.set()
    assert (await today.answer_to(question)).content["data"] == {"k": "new"}


async def test_what_has_not_changed_is_not_read_again(today: Cloud, answers: SlowAnswers) -> None:
    answers.released.set()
    await register(today)
    uid = (await bound(today))["metadata"]["uid"]
    answers.reads = 0
    for phase in ("Pending", "Running"):
        answer = await today.call("patch", "default/podpatch/p", pod_patch(uid, phase=phase))
        assert answer.content["Object"]["status"]["phase"] == phase
    await today.call("patch", PATCH, STATUS_OF_NODE)
    assert answers.reads == 0
