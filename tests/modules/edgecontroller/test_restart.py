"""After its own restart the controller tells a node what it does not know to be there, no more."""

import asyncio

import pytest

from ipc import Message
from modules.common.kube import CONFIGMAPS, ENDPOINTS, NODES, PODS, SERVICES
from modules.common.sync import connectivity
from tests.support.waiting import DEADLINE, eventually

from .cloud import Cloud
from .objects import NODE, Json, configmap, node, pod, using


def told(messages: list[Message]) -> list[tuple[str, str]]:
    prefix = f"node/{NODE}/"
    return sorted((m.operation, m.resource.removeprefix(prefix)) for m in messages)


async def started(cloud: Cloud) -> list[tuple[str, str]]:
    """Return what the controller tells the node after its start, which acknowledges it all."""
    await cloud.asked_about()
    return await told_in_all(cloud)


async def told_in_all(cloud: Cloud) -> list[tuple[str, str]]:
    """Return what the node is told now, and upon its acknowledgements of that."""
    return sorted([*told(await cloud.drain()), *told(await cloud.drain())])


def service(name: str) -> Json:
    metadata = {"name": name, "namespace": "default"}
    return {"metadata": metadata, "spec": {"selector": {"app": "x"}, "ports": [{"port": 1}]}}


@pytest.fixture
async def furnished(cloud: Cloud) -> Cloud:
    """A node with something of each kind."""
    await cloud.api.create(NODES, node())
    await cloud.api.create(CONFIGMAPS, configmap("cm", k="v"), "default")
    await cloud.api.create(PODS, pod("p", spec=using("cm"), labels={"app": "x"}), "default")
    await cloud.api.create(SERVICES, service("s"), "default")
    cloud.acknowledging = True
    return cloud


LISTS = [
    ("update", "namespace/endpointslist/endpoints"),
    ("update", "namespace/servicelist/service"),
]
PODLIST = ("update", "default/podlist/s")
OBJECTS = ["default/configmap/cm", "default/pod/p"]
#: For a node of which nothing is known: an insert makes no difference to what it may have.
EVERYTHING = sorted(
    [*((how, each) for how in ("insert", "update") for each in OBJECTS), PODLIST, *LISTS]
)


async def test_what_was_acknowledged_is_not_told_again(furnished: Cloud) -> None:
    cloud = furnished
    async with cloud.controller():
        assert await started(cloud) == EVERYTHING
    async with cloud.controller():
        assert await started(cloud) == []


async def test_what_was_not_acknowledged_is_told_again(furnished: Cloud) -> None:
    cloud = furnished
    cloud.acknowledging = False
    async with cloud.controller():
        await cloud.asked_about()
        for message in await cloud.drain():
            if message.resource.endswith("pod/p"):
                await cloud.acknowledge(message)
        await cloud.drain()
    async with cloud.controller():
        assert await started(cloud) == sorted([("update", "default/configmap/cm"), PODLIST, *LISTS])


async def test_what_changed_meanwhile_is_told(furnished: Cloud) -> None:
    cloud = furnished
    async with cloud.controller():
        await started(cloud)
    await cloud.api.patch(CONFIGMAPS, "cm", {"data": {"k": "w"}}, "default")
    await cloud.api.delete(SERVICES, "s", "default")
    async with cloud.controller():
        assert await started(cloud) == [
            ("delete", "default/service/s"),
            ("update", "default/configmap/cm"),
            LISTS[1],
        ]


async def test_status_of_a_pod_makes_it_no_news(furnished: Cloud) -> None:
    """Before and after the node has acknowledged it."""
    cloud = furnished
    cloud.acknowledging = False
    async with cloud.controller():
        await cloud.asked_about()
        messages = await cloud.drain()
        for phase in ("Pending", "Running"):
            status = {"status": {"phase": phase, "message": phase}}
            await cloud.api.patch(PODS, "p", status, "default", subresource="status")
            await cloud.drain()
            for message in messages:
                await cloud.acknowledge(message)
        await cloud.drain()
    async with cloud.controller():
        started_with = await started(cloud)
        assert PODLIST in started_with  # which has the statuses of its pods
        assert ("update", "default/pod/p") not in started_with


async def test_single_services_add_up_to_the_list(furnished: Cloud) -> None:
    """A node that has had the list and every change since need not have it again."""
    cloud = furnished
    async with cloud.controller():
        await started(cloud)
        await cloud.api.create(SERVICES, service("t"), "default")
        endpoints = {"metadata": {"name": "t", "namespace": "default"}, "subsets": []}
        await cloud.api.create(ENDPOINTS, endpoints, "default")
        assert ("insert", "default/service/t") in told(await cloud.drain())
        await cloud.drain()
    async with cloud.controller():
        assert await started(cloud) == []


async def test_what_came_and_went_unacknowledged_is_put_right(furnished: Cloud) -> None:
    """The lists are again as the node has acknowledged them, and yet it has more by now."""
    cloud = furnished
    async with cloud.controller():
        await started(cloud)
        cloud.acknowledging = False
        await cloud.api.create(SERVICES, service("t"), "default")
        await cloud.until("insert", f"node/{NODE}/default/service/t")
        await cloud.api.create(PODS, pod("q", labels={"app": "x"}), "default")
        endpoints = {"metadata": {"name": "s", "namespace": "default"}, "subsets": []}
        await cloud.api.create(ENDPOINTS, endpoints, "default")
        await cloud.until("update", f"node/{NODE}/default/podlist/s")
    await cloud.api.delete(SERVICES, "t", "default")
    await cloud.api.delete(PODS, "q", "default", grace_period=0)
    cloud.acknowledging = True
    async with cloud.controller():
        assert {("delete", "default/service/t"), PODLIST} <= set(await started(cloud))
    async with cloud.controller():
        assert await started(cloud) == []


async def test_connecting_anew_brings_all_again(furnished: Cloud) -> None:
    """Also when the controller was dead meanwhile: an edge may have lost its store."""
    cloud = furnished
    async with cloud.controller():
        await started(cloud)
    await cloud.connect(connected=False)
    await cloud.connect()
    async with cloud.controller():
        assert await started(cloud) == sorted(
            [("update", "default/configmap/cm"), ("update", "default/pod/p"), PODLIST, *LISTS]
        )


async def test_node_that_has_had_another_cloudcore(furnished: Cloud) -> None:
    """It may have objects of these names, which an insert leaves as they are: an update follows.

    When the insert has been handled: in cloudhub's queue the two would be one. Not of what has
    been created only now, nor for a node that has been told by this cloudcore.
    """
    cloud = furnished
    cloud.acknowledging = False
    async with cloud.controller():
        await cloud.asked_about()
        inserted = await cloud.until("insert", f"node/{NODE}/default/configmap/cm")
        await cloud.drain()
        await cloud.acknowledge(inserted)
        assert told(await cloud.drain()) == [("update", "default/configmap/cm")]
        await cloud.api.create(PODS, pod("new"), "default")
        await cloud.acknowledge(await cloud.until("insert", f"node/{NODE}/default/pod/new"))
        assert await cloud.drain() == []
        await cloud.connect(connected=False)
        await cloud.drain()
        await cloud.api.create(PODS, pod("later"), "default")
        await cloud.connect()
        inserted = await cloud.until("insert", f"node/{NODE}/default/pod/later")
        await cloud.drain()
        await cloud.acknowledge(inserted)
        assert await cloud.drain() == []


async def test_node_that_is_not_connected_is_told_nothing(furnished: Cloud) -> None:
    cloud = furnished
    cloud.absent.add(NODE)
    async with cloud.controller():
        assert await started(cloud) == []
        await cloud.api.patch(CONFIGMAPS, "cm", {"data": {"k": "w"}}, "default")
        assert await cloud.drain() == []
        await cloud.connect()
        assert await told_in_all(cloud) == EVERYTHING


async def test_node_that_speaks_before_cloudhub_does(furnished: Cloud) -> None:
    """It is there, whatever cloudhub says, and is told what it lacks."""
    cloud = furnished
    async with cloud.controller():
        question = await cloud.hub.receive(timeout=DEADLINE)
        while question.resource != f"node/{NODE}":
            question = await cloud.hub.receive(timeout=DEADLINE)
        await cloud.answer_to(await cloud.from_edge("query", f"default/node/{NODE}"))
        await cloud.hub.send_resp(question.error("not connected"))
        assert await told_in_all(cloud) == EVERYTHING


async def test_cloudhub_that_says_nothing(
    furnished: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be down: what there is to tell waits for it in its channel."""
    monkeypatch.setattr(connectivity, "_TIMEOUT", 0.1)
    cloud = furnished
    cloud.unknown.add(NODE)
    async with cloud.controller():
        await cloud.until("insert", f"node/{NODE}/default/pod/p")


async def test_nodes_that_went_with_cloudhub(
    furnished: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody says `disconnected` when cloudhub is killed: a silent node is asked about."""
    monkeypatch.setattr(connectivity, "SILENCE", 0.2)
    cloud = furnished
    async with cloud.controller():
        await started(cloud)
        await connected(cloud, 2)  # and who asks in `drain`
        cloud.absent.add(NODE)
        await cloud.asked_about()
        await connected(cloud, 1)


async def connected(cloud: Cloud, count: int) -> None:
    """Wait until the controller knows of so many connected nodes."""
    await eventually(
        lambda: asyncio.sleep(0, cloud.context.details.get("connected_nodes")),
        lambda nodes: nodes == count,
    )
