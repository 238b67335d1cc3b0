"""What an edge reports is not written over what another replica has written since."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any, NamedTuple

import pytest

from modules.common.kube import LEASES, NODES, PODS, KubeClient, NotFound, Object, Resource
from modules.common.replicas.holdings import Claim
from modules.common.replicas.leases import OF_NODE, name_of, of_claim
from modules.common.wire.generations import V1_1, V1_23
from supervisor.api import ReplicasSettings
from tests.support.waiting import eventually, until

from .cloud import Cloud
from .objects import NODE, Json, node, pod
from .today import PATCH

#: The namespace of the Leases, and the name of the node's.
PLACE = "default"
LEASE = name_of(OF_NODE, NODE)


def pod_status(text: str) -> Json:
    return {"status": {"startTime": "2026-11-29T00:00:00Z", "message": text}}


def node_status(text: str) -> Json:
    return {"status": {"nodeInfo": {"osImage": text}}}


def annotations(text: str) -> Json:
    return {"metadata": {"annotations": {"note": text}}}


class Kind(NamedTuple):
    """A kind of report: how an edge makes it, and how it is in the API."""

    generation: str
    resource: Resource
    operation: str
    path: str
    patch: Callable[[str], Json]
    form: Callable[[Json], Json] = lambda patch: patch

    @property
    def where(self) -> tuple[str, str | None]:
        return ("p", "default") if self.resource is PODS else (NODE, None)

    async def report(self, cloud: Cloud, text: str) -> None:
        await cloud.from_edge(self.operation, self.path, self.form(self.patch(text)))

    async def write(self, cloud: Cloud, patch: Json) -> None:
        """Write something as others do."""
        name, namespace = self.where
        part = "status" if "status" in patch else ""
        await cloud.api.patch(
            self.resource, name, patch, namespace, type="strategic", subresource=part
        )

    async def change(self, cloud: Cloud) -> None:
        """Change something that the edge does not report, and is not sent either."""
        status = (
            {"nodeInfo": {"bootID": "1"}} if self.resource is NODES else {"hostIP": "127.0.0.1"}
        )
        await self.write(cloud, {"status": status})

    async def is_written(self, cloud: Cloud, text: str) -> None:
        name, namespace = self.where
        await eventually(
            lambda: cloud.api.get(self.resource, name, namespace), lambda obj: self.has(obj, text)
        )

    def has(self, obj: Object, text: str) -> bool:
        return _contains(obj, self.patch(text))


def _contains(whole: Any, part: Any) -> bool:
    if not isinstance(part, dict):
        return bool(whole == part)
    return all(_contains((whole or {}).get(key), value) for key, value in part.items())


KINDS = {
    "the status of a pod": Kind(V1_23, PODS, "patch", "default/podpatch/p", pod_status),
    "the status of a pod from 1.1": Kind(
        V1_1,
        PODS,
        "update",
        "default/podstatus/p",
        pod_status,
        lambda patch: {"Name": "p", "Status": patch["status"]},
    ),
    "the status of a node": Kind(V1_23, NODES, "patch", PATCH, node_status),
    "the status of a node from 1.1": Kind(
        V1_1,
        NODES,
        "update",
        f"default/nodestatus/{NODE}",
        node_status,
        lambda patch: {"UID": "1", "Status": patch["status"]},
    ),
    "the annotations of a node": Kind(V1_1, NODES, "update", f"default/node/{NODE}", annotations),
}


class Requests:
    """The controller's writes of the node and its pod, and its reads of the Lease."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made: list[str] = []
        self.before: dict[str, Callable[[], Awaitable[None]]] = {}
        """what happens, once, before a request"""
        for verb in ("get", "patch"):
            monkeypatch.setattr(KubeClient, verb, self._noting(verb, getattr(KubeClient, verb)))

    def _noting(self, verb: str, method: Any) -> Any:
        async def noting(
            client: KubeClient, resource: Resource, name: str, *rest: Any, **form: Any
        ):
            if client.module == "edgecontroller" and name in (NODE, "p", LEASE):
                what = f"{verb} {resource.plural}"
                if what in ("patch nodes", "patch pods", "get leases"):
                    self.made.append(what)
                if happens := self.before.pop(what, None):
                    await happens()
            return await method(client, resource, name, *rest, **form)

        return noting


async def claim(cloud: Cloud, replica: str) -> None:
    """Have a replica take the node over."""
    try:
        lease = await cloud.api.get(LEASES, LEASE, PLACE)
    except NotFound:
        await cloud.api.create(LEASES, of_claim(NODE, Claim(replica, 1, "")), PLACE)
    else:
        version = lease["metadata"]["resourceVersion"]
        await cloud.api.replace(LEASES, of_claim(NODE, Claim(replica, 2, version)), PLACE)


async def takes_over(cloud: Cloud, kind: Kind) -> None:
    """Have replica b take the node over, and write what the edge has reported to it."""
    await claim(cloud, "b")
    await kind.write(cloud, kind.patch("of b"))


@pytest.fixture(params=KINDS.values(), ids=list(KINDS))
def kind(request: pytest.FixtureRequest) -> Kind:
    found: Kind = request.param
    return found


async def begin(cloud: Cloud, *, is_replica: bool = True) -> None:
    """Have a node with a pod; the controller is that of replica a, or of a single cloudcore."""
    settings = ReplicasSettings(enabled=is_replica, name="a", namespace=PLACE)
    cloud.settings = replace(cloud.settings, replicas=settings)
    await cloud.api.create(NODES, node())
    await cloud.api.create(PODS, pod("p"), "default")


async def connect(cloud: Cloud, kind: Kind) -> None:
    await cloud.connect(generation=kind.generation)
    await cloud.until("insert", f"node/{NODE}/default/pod/p")


@pytest.fixture
async def replica(cloud: Cloud, kind: Kind) -> AsyncIterator[Cloud]:
    """Replica a, to which the node is connected."""
    await begin(cloud)
    await claim(cloud, "a")
    async with cloud.controller(record="objectsync"):
        await connect(cloud, kind)
        yield cloud


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> Requests:
    return Requests(monkeypatch)


async def is_dropped(cloud: Cloud, kind: Kind, requests: Requests, reads: int = 1) -> None:
    """Wait until the Lease has been read, and see that nothing is written after that."""
    await until(lambda: requests.made.count("get leases") == reads)
    before = len(requests.made)
    await cloud.call("query", f"default/node/{NODE}")
    assert f"patch {kind.resource.plural}" not in requests.made[before:]
    await kind.is_written(cloud, "of b")


async def test_reports_cost_no_more_requests_while_nobody_else_writes(
    replica: Cloud, kind: Kind, requests: Requests
) -> None:
    await kind.report(replica, "first")
    await kind.is_written(replica, "first")
    write = f"patch {kind.resource.plural}"
    # Nothing is reported of a pod before that, which costs a read of the Lease otherwise.
    assert requests.made == [write] if kind.resource is PODS else ["get leases", write]
    requests.made.clear()
    for text in ("second", "third"):
        await kind.report(replica, text)
        await kind.is_written(replica, text)
    assert requests.made == [write] * 2


async def test_a_report_is_not_written_over_a_later_one_of_another_replica(
    replica: Cloud, kind: Kind, requests: Requests
) -> None:
    await kind.report(replica, "first")
    await kind.is_written(replica, "first")
    await takes_over(replica, kind)
    requests.made.clear()
    await kind.report(replica, "late")
    await is_dropped(replica, kind, requests)


async def test_what_the_watch_has_shown_of_another_replica_is_not_written_over(
    cloud: Cloud, kind: Kind, requests: Requests
) -> None:
    """This one has written nothing yet."""
    await begin(cloud)
    await takes_over(cloud, kind)
    async with cloud.controller(record="objectsync"):
        await connect(cloud, kind)
        await kind.report(cloud, "late")
        await is_dropped(cloud, kind, requests)


async def test_a_takeover_after_the_conflict_is_noticed(
    replica: Cloud, kind: Kind, requests: Requests
) -> None:
    await kind.report(replica, "first")
    await kind.is_written(replica, "first")
    await kind.change(replica)
    requests.made.clear()
    plural = kind.resource.plural
    requests.before[f"get {plural}"] = lambda: takes_over(replica, kind)
    await kind.report(replica, "late")
    await is_dropped(replica, kind, requests)
    assert requests.made == [f"patch {plural}", "get leases"]


async def test_a_takeover_after_the_lease_was_read_is_noticed(
    replica: Cloud, kind: Kind, requests: Requests
) -> None:
    await kind.report(replica, "first")
    await kind.is_written(replica, "first")
    await kind.change(replica)
    requests.made.clear()
    plural = kind.resource.plural

    async def before_the_second_attempt() -> None:
        requests.before[f"patch {plural}"] = lambda: takes_over(replica, kind)

    requests.before["get leases"] = before_the_second_attempt
    await kind.report(replica, "late")
    await is_dropped(replica, kind, requests, reads=2)
    assert requests.made == [f"patch {plural}", "get leases"] * 2


async def test_what_others_change_costs_a_read_of_the_lease(
    replica: Cloud, kind: Kind, requests: Requests
) -> None:
    await kind.report(replica, "first")
    await kind.is_written(replica, "first")
    await kind.change(replica)
    requests.made.clear()
    for text in ("second", "third"):
        await kind.report(replica, text)
        await kind.is_written(replica, text)
    write = f"patch {kind.resource.plural}"
    assert requests.made == [write, "get leases", write, write]


async def test_a_holder_without_a_lease_goes_on(
    replica: Cloud, kind: Kind, requests: Requests
) -> None:
    await replica.api.delete(LEASES, LEASE, PLACE)
    await kind.change(replica)
    await kind.report(replica, "first")
    await kind.is_written(replica, "first")


async def test_a_single_cloudcore_names_no_version(
    cloud: Cloud, kind: Kind, requests: Requests
) -> None:
    await begin(cloud, is_replica=False)
    async with cloud.controller():
        await connect(cloud, kind)
        await kind.change(cloud)
        await kind.report(cloud, "first")
        await kind.is_written(cloud, "first")
        assert requests.made == [f"patch {kind.resource.plural}"]
