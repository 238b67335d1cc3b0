"""What an edge reports of a device is not written over what another replica has written since."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import pytest

from modules.common.kube import (
    CUSTOMRESOURCEDEFINITIONS,
    DEVICES,
    DEVICES_V1BETA1,
    DEVICESTATUSES,
    LEASES,
    KubeClient,
    NotFound,
    Resource,
)
from modules.common.replicas.holdings import Claim
from modules.common.replicas.leases import OF_NODE, name_of, of_claim
from modules.common.wire.generations import V1_1, tell
from modules.devicecontroller.status import acceptance
from tests.modules.devicecontroller import beta, samples
from tests.modules.devicecontroller.api import Api, Object
from tests.modules.devicecontroller.beta import LED, NODE, Edge, make_device, make_model
from tests.modules.devicecontroller.controller import Controller, running
from tests.modules.devicecontroller.replicas import replica
from tests.support.waiting import until

pytestmark = pytest.mark.usefixtures("object_syncs_soon", "conditions_soon")

LEASE = name_of(OF_NODE, NODE)


class Kind(NamedTuple):
    """Where the API has what is reported of a device."""

    resource: Resource
    device: str
    """as edges name it"""
    report: Callable[[str, int], bytes]
    subresource: str = ""

    async def reports(self, controller: Controller, value: str, number: int) -> str:
        """Have the edge report, and return the id of the message."""
        path = f"device/{self.device}/twin/edge_updated"
        return (await controller.hear(NODE, path, self.report(value, number))).id

    async def has(self, api: Api, value: str) -> None:
        await api.until(self.resource, LED, "default", lambda obj: value_of(obj) == value)

    async def write(self, api: Api, value: str) -> None:
        """Write a report as another replica does."""
        found = await api.client.get(self.resource, LED, "default")
        twins = (found.get("status") or {}).get("twins") or [{"propertyName": "power-status"}]
        twins[0].setdefault("reported", {})["value"] = value
        await self._patch(api, {"status": {"twins": twins}}, self.subresource)

    async def change(self, api: Api) -> None:
        """Change something that is not reported."""
        await self._patch(api, {"metadata": {"labels": {"changed": "once"}}})

    async def _patch(self, api: Api, patch: Object, subresource: str = "") -> None:
        await api.client.patch(self.resource, LED, patch, "default", subresource=subresource)


def value_of(obj: Object | None) -> Any:
    twins = ((obj or {}).get("status") or {}).get("twins") or [{}]
    return (twins[0].get("reported") or {}).get("value")


def beta_report(value: str, _: int) -> bytes:
    return beta.twin_update(power_status=value)


KINDS = {
    "v1alpha1": Kind(DEVICES, LED, samples.report, "status"),
    "DeviceStatus": Kind(DEVICESTATUSES, beta.ID, beta_report),
    "Device": Kind(DEVICES_V1BETA1, beta.ID, beta_report),
}


@pytest.fixture(params=KINDS.values(), ids=list(KINDS))
def kind(request: pytest.FixtureRequest) -> Kind:
    found: Kind = request.param
    return found


class Requests:
    """The controller's writes of what is reported, and its reads of the Lease."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made: list[str] = []
        self.before: dict[str, Callable[[], Awaitable[None]]] = {}
        """what happens, once, before a request"""
        for verb in ("get", "patch"):
            monkeypatch.setattr(KubeClient, verb, self._noting(verb, getattr(KubeClient, verb)))

    def _noting(self, verb: str, method: Any) -> Any:
        async def noting(
            client: KubeClient, resource: Resource, name: str, *rest: Any, **form: Any
        ) -> Object:
            if client.module == "devicecontroller" and name in (LED, LEASE):
                is_report = verb == "patch" and "twins" in rest[0].get("status", {})
                if is_report or resource is LEASES:
                    self.made.append("write" if is_report else "ask")
                if happens := self.before.pop(f"{verb} {resource.plural}", None):
                    await happens()
            found: Object = await method(client, resource, name, *rest, **form)
            return found

        return noting

    async def asked(self, times: int) -> None:
        await until(lambda: self.made.count("ask") == times)


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> Requests:
    return Requests(monkeypatch)


async def claim(api: Api, holder: str) -> None:
    """Have a replica take the node over."""
    try:
        lease = await api.client.get(LEASES, LEASE, "default")
    except NotFound:
        await api.client.create(LEASES, of_claim(NODE, Claim(holder, 1, "")), "default")
    else:
        version = lease["metadata"]["resourceVersion"]
        await api.client.replace(LEASES, of_claim(NODE, Claim(holder, 2, version)), "default")


async def takes_over(api: Api, kind: Kind) -> None:
    """Have replica b take the node over, and write what the edge has reported to it."""
    await claim(api, "b")
    await kind.write(api, "of b")


async def serve(api: Api, kind: Kind, controller: Controller) -> None:
    """Connect an edge that has a device, of which nothing else is written soon."""
    is_alpha = kind.resource is DEVICES
    if is_alpha:
        await api.create(DEVICES, samples.device(twins={"power-status": "ON"}))
        await controller.hear(NODE, "", tell(V1_1), "connected", "cloudhub")
    else:
        await make_model(api)
        await make_device(api)
        edge = Edge(controller)
        await edge.connect()
        await edge.takes_device()
    devices = DEVICES if is_alpha else DEVICES_V1BETA1
    await api.until(devices, LED, "default", is_accepted)


def is_accepted(obj: Object | None) -> bool:
    return bool(((obj or {}).get("status") or {}).get("conditions"))


@asynccontextmanager
async def prepared(api: Api, kind: Kind) -> AsyncIterator[None]:
    if kind.resource is DEVICES_V1BETA1:  # the CRDs up to KubeEdge 1.22
        await api.client.delete(CUSTOMRESOURCEDEFINITIONS, "devicestatuses.devices.kubeedge.io")
    yield


@pytest.fixture
def conditions_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    for seconds in ("_GRACE", "_LEFT"):
        monkeypatch.setattr(acceptance, seconds, 0.05)


@pytest.fixture
async def served(api: Api, kind: Kind) -> AsyncIterator[Controller]:
    """Replica a, to which the edge of the device is connected."""
    async with prepared(api, kind), replica(api, "a") as controller:
        await claim(api, "a")
        await serve(api, kind, controller)
        yield controller


async def answer_to(controller: Controller, message_id: str) -> list[str]:
    """Wait for the confirmation of a report, and return the ids of all that were confirmed."""
    confirmed = []
    while message_id not in confirmed:
        confirmed.append((await controller.said()).parent_id)
    return confirmed


async def is_dropped(
    api: Api, kind: Kind, controller: Controller, requests: Requests, late: str
) -> None:
    """See that a report is neither written nor confirmed; the edge comes back and reports."""
    before = len(requests.made)
    assert requests.made[-1] == "ask"
    await claim(api, "a")
    last = await kind.reports(controller, "last", 3)
    assert late not in await answer_to(controller, last)
    await kind.has(api, "last")
    assert requests.made[before:].count("write") <= 2  # the first may conflict


async def test_reports_cost_no_more_requests_while_nobody_else_writes(
    api: Api, kind: Kind, served: Controller, requests: Requests
) -> None:
    await answer_to(served, await kind.reports(served, "first", 1))
    assert requests.made == ["ask", "write"]
    requests.made.clear()
    for number, text in enumerate(("second", "third"), start=2):
        await kind.has(api, ("first", "second")[number - 2])
        await answer_to(served, await kind.reports(served, text, number))
    assert "ask" not in requests.made
    await kind.has(api, "third")


async def test_a_report_is_not_written_over_a_later_one_of_another_replica(
    api: Api, kind: Kind, served: Controller, requests: Requests
) -> None:
    await answer_to(served, await kind.reports(served, "first", 1))
    await takes_over(api, kind)
    requests.made.clear()
    late = await kind.reports(served, "late", 2)
    await requests.asked(1)
    await kind.has(api, "of b")
    await is_dropped(api, kind, served, requests, late)


async def test_what_was_read_of_another_replica_is_not_written_over(
    api: Api, kind: Kind, requests: Requests
) -> None:
    """This one has written nothing yet."""
    async with prepared(api, kind), replica(api, "a") as controller:
        await serve(api, kind, controller)
        await api.until(kind.resource, LED, "default", lambda obj: obj is not None)
        await takes_over(api, kind)
        late = await kind.reports(controller, "late", 2)
        await requests.asked(1)
        await kind.has(api, "of b")
        await is_dropped(api, kind, controller, requests, late)


async def test_a_takeover_after_the_conflict_is_noticed(
    api: Api, kind: Kind, served: Controller, requests: Requests
) -> None:
    await answer_to(served, await kind.reports(served, "first", 1))
    await kind.has(api, "first")
    requests.made.clear()

    async def another_writes() -> None:
        await kind.change(api)
        requests.before[f"get {kind.resource.plural}"] = lambda: takes_over(api, kind)

    requests.before[f"patch {kind.resource.plural}"] = another_writes
    late = await kind.reports(served, "late", 2)
    await requests.asked(1)
    await kind.has(api, "of b")
    await is_dropped(api, kind, served, requests, late)


async def test_what_others_change_costs_a_read_of_the_lease(
    api: Api, kind: Kind, served: Controller, requests: Requests
) -> None:
    await answer_to(served, await kind.reports(served, "first", 1))
    await kind.has(api, "first")
    requests.made.clear()
    requests.before[f"patch {kind.resource.plural}"] = lambda: kind.change(api)
    await answer_to(served, await kind.reports(served, "second", 2))
    assert requests.made == ["write", "ask", "write"]
    await kind.has(api, "second")


async def test_a_single_cloudcore_reads_no_lease(api: Api, kind: Kind, requests: Requests) -> None:
    async with prepared(api, kind), running(api.settings) as controller:
        await serve(api, kind, controller)
        requests.before[f"patch {kind.resource.plural}"] = lambda: kind.change(api)
        await answer_to(controller, await kind.reports(controller, "first", 1))
        assert set(requests.made) == {"write"}
        await kind.has(api, "first")
