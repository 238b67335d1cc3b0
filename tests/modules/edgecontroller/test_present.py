"""What an edge stores of an answer is not older than what it was sent before the answer."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from modules.common.kube import NODES, PODS, KubeClient, Resource

from .cloud import Cloud
from .objects import NODE, Json, pod
from .today import PATCH, bound, pod_patch, reason, register

STATUS_OF_NODE = '{"status": {"phase": "Running"}}'


class SlowPatches:
    """The API server's answers to patches of a status, held back until they are released."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.done = asyncio.Event()
        """a status is written, and the answer on its way"""
        self.released = asyncio.Event()
        self.reads = 0
        patch, get = KubeClient.patch, KubeClient.get

        async def slow(client: KubeClient, resource: Resource, *args: Any, **more: Any) -> Json:
            written = await patch(client, resource, *args, **more)
            if client.module == "edgecontroller" and more.get("subresource") == "status":
                self.done.set()
                await self.released.wait()
            return written

        async def counted(client: KubeClient, *args: Any) -> Json:
            self.reads += client.module == "edgecontroller"
            return await get(client, *args)

        monkeypatch.setattr(KubeClient, "patch", slow)
        monkeypatch.setattr(KubeClient, "get", counted)


@pytest.fixture
def patches(monkeypatch: pytest.MonkeyPatch) -> SlowPatches:
    return SlowPatches(monkeypatch)


pytestmark = pytest.mark.timeout(10)


async def test_a_pod_that_is_deleted_before_the_answer_is_not_in_the_answer(
    today: Cloud, patches: SlowPatches
) -> None:
    """An edge would store it again, and start it when it starts itself."""
    await register(today)
    uid = (await bound(today))["metadata"]["uid"]
    question = await today.ask("patch", "default/podpatch/p", pod_patch(uid, phase="Running"))
    await patches.done.wait()
    await today.api.delete(PODS, "p", "default", grace_period=0)
    await today.drain()  # the watch has shown it
    patches.released.set()
    assert reason(await today.answer_to(question)) == (404, "NotFound")


async def test_a_pod_of_the_same_name_is_not_the_answer(today: Cloud, patches: SlowPatches) -> None:
    await register(today)
    uid = (await bound(today))["metadata"]["uid"]
    question = await today.ask("patch", "default/podpatch/p", pod_patch(uid, phase="Running"))
    await patches.done.wait()
    await today.api.delete(PODS, "p", "default", grace_period=0)
    await today.api.create(PODS, pod("p", NODE), "default")
    await today.drain()  # the watch has shown it
    patches.released.set()
    assert reason(await today.answer_to(question)) == (404, "NotFound")


async def test_a_pod_that_is_changed_before_the_answer_is_answered_as_it_is_now(
    today: Cloud, patches: SlowPatches
) -> None:
    await register(today)
    uid = (await bound(today))["metadata"]["uid"]
    question = await today.ask("patch", "default/podpatch/p", pod_patch(uid, phase="Running"))
    await patches.done.wait()
    labels = {"metadata": {"labels": {"new": "label"}}}
    changed = await today.api.patch(PODS, "p", labels, "default")
    await today.drain()  # the watch has shown it
    patches.released.set()
    answer = await today.answer_to(question)
    version = changed["metadata"]["resourceVersion"]
    assert answer.resource_version == version
    found = answer.content["Object"]
    assert (found["metadata"]["labels"], found["status"]["phase"]) == ({"new": "label"}, "Running")
    assert found["metadata"]["resourceVersion"] == version


async def test_a_node_that_is_changed_before_the_answer_is_answered_as_it_is_now(
    today: Cloud, patches: SlowPatches
) -> None:
    await register(today)
    question = await today.ask("patch", PATCH, STATUS_OF_NODE)
    await patches.done.wait()
    await today.api.patch(NODES, NODE, {"metadata": {"labels": {"new": "label"}}})
    await today.drain()  # the watch has shown it
    patches.released.set()
    answer = await today.answer_to(question)
    assert answer.content["Object"]["metadata"]["labels"]["new"] == "label"


async def test_what_has_not_changed_is_not_read_again(today: Cloud, patches: SlowPatches) -> None:
    patches.released.set()
    await register(today)
    uid = (await bound(today))["metadata"]["uid"]
    patches.reads = 0
    for phase in ("Pending", "Running"):
        answer = await today.call("patch", "default/podpatch/p", pod_patch(uid, phase=phase))
        assert answer.content["Object"]["status"]["phase"] == phase
    await today.call("patch", PATCH, STATUS_OF_NODE)
    assert patches.reads == 0
