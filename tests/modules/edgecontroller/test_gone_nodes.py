"""What is left of nodes without a Node is removed after a day, by the leader of the replicas."""

from __future__ import annotations

import time
from typing import Any

import pytest

from modules.common.kube import LEASES, NODES, OBJECTSYNCS, Forbidden
from modules.common.kube.transport import Request, Transport
from modules.common.replicas.leases import OF_NODE, make
from modules.common.sync.absences import Absences
from modules.common.sync.gone_nodes import GONE_FOR, GoneNodes
from modules.common.sync.sync_form import NODE_LABEL
from tests.modules.edgecontroller.cloud import Cloud
from tests.modules.edgecontroller.objects import node

Json = dict[str, Any]


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


GONE = "edge-gone"
HERE = "edge-here"


async def sync(cloud: Cloud, of_node: str, uid: str = "u-1") -> None:
    metadata = {"name": f"{of_node}.{uid}", "labels": {NODE_LABEL: of_node}}
    spec = {"objectAPIVersion": "v1", "objectKind": "Pod", "objectName": "p"}
    await cloud.api.create(OBJECTSYNCS, {"metadata": metadata, "spec": spec}, "default")


@pytest.fixture
async def gone(cloud: Cloud) -> GoneNodes:
    """Two nodes with a Lease and an ObjectSync each; one has no Node."""
    await cloud.api.create(NODES, node(HERE))
    for name in (GONE, HERE):
        await sync(cloud, name)
        lease = make(OF_NODE, name, {"holderIdentity": "a", "leaseTransitions": 1})
        await cloud.api.create(LEASES, lease, "default")
    return GoneNodes(cloud.api, "default", None, {HERE}.__contains__)


async def leases(cloud: Cloud) -> dict[str, Json]:
    found = (await cloud.api.list(LEASES, "default")).items
    return {each["metadata"]["name"]: each["metadata"].get("annotations") or {} for each in found}


async def syncs(cloud: Cloud) -> set[str]:
    found = (await cloud.api.list(OBJECTSYNCS, "default")).items
    return {each["metadata"]["name"].partition(".")[0] for each in found}


async def test_what_is_left_stays_for_a_day(
    cloud: Cloud, gone: GoneNodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    await gone.look()
    await gone.look()
    found = await leases(cloud)
    assert GONE_FOR in found[f"node.{GONE}"]
    assert GONE_FOR not in found[f"node.{HERE}"]
    assert await syncs(cloud) == {GONE, HERE}
    monkeypatch.setattr(time, "time", lambda: 2.0**32)  # the clock was set: no day has passed
    await gone.look()
    assert len(await leases(cloud)) == 2
    clock = Clock()
    gone._absences = Absences(clock)
    for _ in range(23):
        await gone.look()
        clock.now += 3600
    await gone.look()
    assert (await leases(cloud))[f"node.{GONE}"][GONE_FOR] == str(23 * 3600)
    # Another leader goes on; what was not written yet is counted anew.
    clock = Clock()
    gone._absences = Absences(clock)
    await gone.look()
    clock.now += 3599
    await gone.look()
    assert len(await leases(cloud)) == 2
    clock.now += 1
    await gone.look()
    assert set(await leases(cloud)) == {f"node.{HERE}"}
    assert await syncs(cloud) == {HERE}


async def test_a_lease_that_is_refused_keeps_no_other_from_being_looked_at(
    cloud: Cloud, gone: GoneNodes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    send = Transport.send

    async def refusing(transport: Transport, request: Request) -> Any:
        if request.method == "PUT" and "edge-later" not in request.path:
            raise Forbidden(403, "Forbidden", "not this one")
        return await send(transport, request)

    monkeypatch.setattr(Transport, "send", refusing)
    for name in ("edge-gone-too", "edge-later"):
        lease = make(OF_NODE, name, {"holderIdentity": "a", "leaseTransitions": 1})
        await cloud.api.create(LEASES, lease, "default")
    await gone.look()
    assert GONE_FOR in (await leases(cloud))["node.edge-later"]
    for name in (GONE, "edge-gone-too"):
        assert f"node {name}: what is left of it stays" in caplog.text


async def test_what_is_left_of_a_node_stays_whole_if_a_part_cannot_be_removed(
    cloud: Cloud, gone: GoneNodes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    send = Transport.send

    async def refusing(transport: Transport, request: Request) -> Any:
        if request.method == "DELETE" and f"{GONE}.u-1" in request.path:
            raise Forbidden(403, "Forbidden", "not this one")
        return await send(transport, request)

    monkeypatch.setattr(Transport, "send", refusing)
    lease = make(OF_NODE, "edge-gone-too", {"holderIdentity": "a", "leaseTransitions": 1})
    await cloud.api.create(LEASES, lease, "default")
    await sync(cloud, "edge-gone-too")
    await sync(cloud, "edge-gone-too", "u-2")
    clock = Clock()
    gone._absences = Absences(clock)
    await gone.look()
    clock.now += 86400
    await gone.look()
    assert set(await leases(cloud)) == {f"node.{GONE}", f"node.{HERE}"}
    assert await syncs(cloud) == {GONE, HERE}
    assert f"node {GONE}: what is left of it stays: 403" in caplog.text


async def test_a_node_that_comes_back_while_what_is_left_is_listed_keeps_it(
    cloud: Cloud, gone: GoneNodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    send = Transport.send

    async def claimed(transport: Transport, request: Request) -> Any:
        if request.what.startswith("list objectsyncs"):
            lease = await cloud.api.get(LEASES, f"node.{GONE}", "default")
            await cloud.api.replace(LEASES, lease | {"spec": {"holderIdentity": "b"}}, "default")
        return await send(transport, request)

    clock = Clock()
    gone._absences = Absences(clock)
    await gone.look()
    clock.now += 86400
    with monkeypatch.context() as patched:
        patched.setattr(Transport, "send", claimed)
        await gone.look()
    assert await syncs(cloud) == {GONE, HERE}
    assert f"node.{GONE}" in await leases(cloud)


async def test_the_day_begins_anew_for_a_node_that_was_back(cloud: Cloud, gone: GoneNodes) -> None:
    await gone.look()
    gone._has_node = {HERE, GONE}.__contains__
    await gone.look()
    assert GONE_FOR not in (await leases(cloud))[f"node.{GONE}"]


async def test_nodes_of_a_time_without_replicas_are_found(cloud: Cloud, gone: GoneNodes) -> None:
    await sync(cloud, "edge-before")
    await gone._note_those_without_lease()
    found = await leases(cloud)
    assert GONE_FOR in found["node.edge-before"]
    assert GONE_FOR not in found[f"node.{GONE}"]  # its own is not touched


async def test_a_time_of_far_too_many_digits_is_written_anew(cloud: Cloud, gone: GoneNodes) -> None:
    lease = await cloud.api.get(LEASES, f"node.{GONE}", "default")
    lease["metadata"]["annotations"] = {GONE_FOR: "9" * 5000}
    await cloud.api.replace(LEASES, lease, "default")
    await gone.look()
    assert (await leases(cloud))[f"node.{GONE}"][GONE_FOR] == "0"


async def test_a_name_too_long_for_a_lease_stops_no_other_node(
    cloud: Cloud, gone: GoneNodes, caplog: pytest.LogCaptureFixture
) -> None:
    long = ".".join(["e" * 49] * 5)
    metadata = {"name": f"{long}.u", "labels": {}}
    spec = {"objectAPIVersion": "v1", "objectKind": "Pod", "objectName": "p"}
    await cloud.api.create(OBJECTSYNCS, {"metadata": metadata, "spec": spec}, "default")
    await sync(cloud, "edge-before")
    await gone._note_those_without_lease()
    assert GONE_FOR in (await leases(cloud))["node.edge-before"]
    assert f"node {long}: what is left of it stays" in caplog.text
