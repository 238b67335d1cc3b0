"""Which versions of an object a report may be written over, and what it costs to know that."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from modules.common.kube import LEASES, PODS, KubeClient, NotFound, Object, Resource, Unreachable
from modules.common.replicas import report_fence
from modules.common.replicas.report_fence import HeldElsewhere, ReportFence, target_of
from supervisor.api import ReplicasSettings
from tests.support.waiting import until

POD = target_of(PODS, "default", "p")


class Api:
    """An API with Leases alone, each of which is read when the test lets it."""

    def __init__(self, holder: str = "a") -> None:
        self.lease: Any = {"holderIdentity": holder, "leaseTransitions": 1}
        """the spec of the Lease; None: there is none"""
        self.reads = 0
        self.answers = asyncio.Event()
        self.answers.set()
        self.is_away = False

    async def get(self, resource: Resource, name: str, namespace: str) -> Object:
        assert (resource, name, namespace) == (LEASES, "node.n", "kubeedge")
        self.reads += 1
        lease = self.lease
        await self.answers.wait()
        if self.is_away:
            raise Unreachable("no answer")
        if lease is None:
            raise NotFound(404, "NotFound", "not found")
        return {"metadata": {"name": name, "resourceVersion": "1"}, "spec": lease}


def fenced(api: Api) -> ReportFence:
    return ReportFence(
        cast("KubeClient", api), ReplicasSettings(enabled=True, name="a", namespace="kubeedge")
    )


async def test_a_version_that_was_written_here_costs_no_request() -> None:
    api = Api("b")
    fence = fenced(api)
    fence.note_clean(POD, "7")
    await fence.check("n", POD, "7")
    assert fence.clean_version(POD) == "7"
    assert api.reads == 0


async def test_another_version_is_clean_if_the_lease_still_names_this_replica() -> None:
    api = Api()
    fence = fenced(api)
    fence.note_clean(POD, "7")
    await fence.check("n", POD, "8")
    await fence.check("n", POD, "8")
    assert api.reads == 1
    assert fence.clean_version(POD) == "8"


async def test_nothing_is_written_for_a_node_that_another_replica_holds() -> None:
    api = Api("b")
    fence = fenced(api)
    for _ in range(2):
        with pytest.raises(HeldElsewhere):
            await fence.check("n", POD, "8")
    assert api.reads == 2
    assert fence.clean_version(POD) == ""


@pytest.mark.parametrize(
    "lease", [None, {}, {"holderIdentity": 7}], ids=["none", "empty", "malformed"]
)
async def test_a_holder_goes_on_without_a_lease(lease: Any) -> None:
    api = Api()
    api.lease = lease
    await fenced(api).check("n", POD, "8")


async def test_while_the_api_does_not_say_it_nothing_is_clean() -> None:
    api = Api()
    api.is_away = True
    fence = fenced(api)
    with pytest.raises(Unreachable):
        await fence.check("n", POD, "8")
    assert fence.clean_version(POD) == ""
    api.is_away = False
    await fence.check("n", POD, "8")


async def test_those_who_ask_before_the_lease_is_read_share_the_answer() -> None:
    api = Api()
    api.answers.clear()
    fence = fenced(api)
    checks = [
        asyncio.create_task(fence.check("n", target_of(PODS, "default", str(number)), "8"))
        for number in range(10)
    ]
    await until(lambda: api.reads)
    api.lease = {"holderIdentity": "b"}
    later = asyncio.create_task(fence.check("n", POD, "9"))  # which may have b's report in it
    await until(lambda: api.reads == 2)
    api.answers.set()
    await asyncio.gather(*checks)
    with pytest.raises(HeldElsewhere):
        await later


async def test_one_who_gives_up_leaves_the_others_their_answer() -> None:
    api = Api()
    api.answers.clear()
    fence = fenced(api)
    first, second = (asyncio.create_task(fence.check("n", POD, "8")) for _ in range(2))
    await until(lambda: api.reads)
    first.cancel()
    api.answers.set()
    await second
    assert api.reads == 1


async def test_of_too_many_objects_the_one_written_longest_ago_is_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(report_fence, "_MOST", 2)
    fence = fenced(Api())
    first, second, third = (target_of(PODS, "default", name) for name in "123")
    for target in (first, second, first, third):
        fence.note_clean(target, "7")
    assert [fence.clean_version(each) for each in (first, second, third)] == ["7", "", "7"]
