"""An edge that could not keep what it was told is told again, until it has."""

from __future__ import annotations

import pytest

from ipc import Message
from modules.common.kube import CONFIGMAPS, PODS, SERVICES
from modules.edgecontroller.downstream import refusals
from tests.modules.edgecontroller.cloud import Cloud
from tests.modules.edgecontroller.objects import NODE, configmap, pod, using

PREFIX = f"node/{NODE}/"
LISTS = [
    f"{PREFIX}namespace/servicelist/service",
    f"{PREFIX}namespace/endpointslist/endpoints",
]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refusals, "_FIRST_PAUSE", 0.05)


async def told_pods(cloud: Cloud, *names: str) -> list[Message]:
    """Create pods that need nothing, and receive what the node is told of them."""
    for name in names:
        await cloud.api.create(PODS, pod(name), "default")
    return [await cloud.next() for _ in names]


async def the_next_round(cloud: Cloud) -> list[str]:
    """Receive what is told again in one go, which ends with the lists."""
    told = []
    while told[-1:] != LISTS[-1:]:
        told.append((await cloud.next()).resource)
    return told


async def test_what_was_refused_is_told_again_and_the_lists_with_it(running: Cloud) -> None:
    """With them, since a v1.1 edge says OK to a list of which it could store nothing."""
    await running.api.create(CONFIGMAPS, configmap("c", k="v"), "default")
    await running.api.create(PODS, pod("p", spec=using("c")), "default")
    first = [await running.next(), await running.next()]
    for message in first:
        await running.refuse(message)
    again = [await running.next() for _ in range(4)]
    resources = [message.resource for message in again]
    assert resources == [f"{PREFIX}default/configmap/c", f"{PREFIX}default/pod/p", *LISTS]
    # An update, which the edge stores also when it has stored the insert after all.
    assert {message.operation for message in again} == {"update"}
    assert again[0].content["data"] == {"k": "v"}


async def test_it_goes_on_until_it_is_kept(
    running: Cloud, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    in_step = f"node {NODE}: in sync again"
    [message] = await told_pods(running, "p")
    for _ in range(3):
        assert in_step not in caplog.text
        await running.refuse(message)
        message = await running.until("update", f"{PREFIX}default/pod/p")
        await running.until("update", LISTS[-1])
    await running.acknowledge(message)
    await running.refuse((await told_pods(running, "q"))[0])
    assert await the_next_round(running) == [f"{PREFIX}default/pod/q", *LISTS]
    assert caplog.text.count(in_step) == 1


async def test_a_deletion_that_failed_is_told_again(running: Cloud) -> None:
    service = {"metadata": {"name": "s", "namespace": "default"}, "spec": {"ports": [{"port": 1}]}}
    await running.api.create(SERVICES, service, "default")
    await running.drain()
    await running.api.delete(SERVICES, "s", "default")
    await running.refuse(await running.until("delete", f"{PREFIX}default/service/s"))
    again = await running.until("delete", f"{PREFIX}default/service/s")
    assert again.content["metadata"]["name"] == "s"


async def test_only_what_is_awaited_can_be_refused(running: Cloud) -> None:
    """However much an edge refuses, nothing is kept of it."""
    p, q = await told_pods(running, "p", "q")
    await running.acknowledge(p)
    await running.refuse(p)
    await running.refuse(q)
    assert await the_next_round(running) == [f"{PREFIX}default/pod/q", *LISTS]


async def test_a_node_that_comes_back_begins_anew(running: Cloud) -> None:
    [p] = await told_pods(running, "p")
    await running.refuse(p)
    await running.connect(connected=False)
    await running.connect()
    await running.until("update", f"{PREFIX}default/pod/p")
    await running.drain()
    await running.refuse((await told_pods(running, "q"))[0])
    assert await the_next_round(running) == [f"{PREFIX}default/pod/q", *LISTS]
