"""The Node and the Lease: registration, patches, renewals, conflicts, a lost database."""

from __future__ import annotations

from dataclasses import replace
from itertools import count

import msgspec
import pytest
from picows import WSUpgradeResponse

from modules.hollow.edge import HollowEdge
from modules.hollow.events import Event
from tests.modules.hollow.cloud import Cloud
from tests.modules.hollow.v1_23.api import TIMING, Api, edged_of, status_of, value_of

NODE = "null/node/edge-1"
LEASE = "kube-node-lease/lease/edge-1"


def is_ready(api: Api, key: str = NODE) -> bool:
    conditions = api.objects[key]["status"]["conditions"]
    return {each["type"]: each["status"] for each in conditions}["Ready"] == "True"


async def test_registers_not_ready_and_patches_itself_ready(
    cloud: Cloud, api: Api, edge: HollowEdge
) -> None:
    inserted = await cloud.message("insert", NODE)
    assert (inserted.source, inserted.group) == ("edged", "meta")
    labels = value_of(inserted)["metadata"]["labels"]
    assert labels["node-role.kubernetes.io/edge"] == ""
    assert labels["kubernetes.io/hostname"] == "edge-1"
    patch = await cloud.message("patch", "null/nodepatch/edge-1")
    assert isinstance(patch.content, str)
    conditions = msgspec.json.decode(patch.content)["status"]["conditions"]
    (ready,) = [each for each in conditions if each["type"] == "Ready"]
    assert (ready["status"], ready["reason"]) == ("True", "EdgeReady")
    await edge.wait_until(lambda: is_ready(api), 20, "Ready")
    stored = await edge.wait_for(NODE, lambda node: node == api.objects[NODE])
    assert stored["metadata"]["uid"]


async def test_the_answer_to_the_insert_is_stored_and_acknowledged(
    cloud: Cloud, edge: HollowEdge
) -> None:
    answer = await edge.wait_message(lambda message: message.resource == NODE)
    acknowledgement = await cloud.message("response", NODE, parent_id=answer.id)
    assert acknowledgement.content == "OK"
    assert acknowledgement.source == "edgecontroller"


async def test_an_unchanged_node_is_patched_once_and_a_changed_one_again(
    cloud: Cloud, api: Api, edge: HollowEdge
) -> None:
    await cloud.wait(lambda: api.patches)
    renewals = edged_of(edge).lease.renewals
    await edge.wait_until(
        lambda: edged_of(edge).lease.renewals > renewals + 3, 20, "renewals, as often as looks"
    )
    assert len(api.patches) == 1
    edged_of(edge).node.pressures = ("DiskPressure",)
    await cloud.wait(lambda: len(api.patches) == 2)
    conditions = api.patches[1][1]["status"]["conditions"]
    (changed,) = [each for each in conditions if "status" in each]
    assert (changed["type"], changed["status"]) == ("DiskPressure", "True")
    order = api.patches[1][1]["status"]["$setElementOrder/conditions"]
    assert [each["type"] for each in order] == [
        "MemoryPressure", "DiskPressure", "PIDPressure", "Ready",
    ]  # fmt: skip


async def test_an_unchanged_node_is_patched_after_the_report_interval(
    cloud: Cloud, api: Api
) -> None:
    timing = replace(TIMING, node_report=0.2)
    async with HollowEdge("edge-1", cloud.url, kubeedge="1.23", timing=timing):
        await cloud.wait(lambda: len(api.patches) >= 3)
    later = api.patches[2][1].get("status", {}).get("conditions", ())
    assert all(each.keys() == {"lastHeartbeatTime", "type"} for each in later)


async def test_retries_until_the_cloud_takes_the_node(
    cloud: Cloud, api: Api, events: list[Event]
) -> None:
    api.refusals["insert", "node"] = status_of("InternalError", 500)
    async with HollowEdge(
        "edge-1", cloud.url, kubeedge="1.23", timing=TIMING, on_event=events.append
    ):
        await cloud.message("insert", NODE, skip=1)
        await cloud.wait(lambda: NODE in api.objects)
    assert "it is InternalError" in next(e.detail for e in events if "InternalError" in e.detail)


async def test_the_lease_is_created_and_renewed(cloud: Cloud, api: Api, edge: HollowEdge) -> None:
    created = value_of(await cloud.message("insert", LEASE))
    assert created["spec"]["holderIdentity"] == "edge-1"
    assert created["spec"]["leaseDurationSeconds"] == 40
    (owner,) = created["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["uid"]) == ("Node", api.objects[NODE]["metadata"]["uid"])
    first = value_of(await cloud.message("update", LEASE))
    second = first
    for number in count(1):  # it renews with what it has, until the answer has come
        if second["metadata"]["resourceVersion"] != first["metadata"]["resourceVersion"]:
            break
        second = value_of(await cloud.message("update", LEASE, skip=number))
    assert first["spec"]["renewTime"] < second["spec"]["renewTime"]
    versions = [lease["metadata"]["resourceVersion"] for lease in (first, second)]
    assert int(versions[0]) < int(versions[1])


async def test_a_conflict_is_resolved_by_the_lease_that_is_there(
    cloud: Cloud, api: Api, edge: HollowEdge
) -> None:
    await cloud.message("update", LEASE)
    queries = sum(m.operation == "query" and m.resource == LEASE for m in cloud.messages)
    api.refusals["update", "lease"] = status_of("Conflict", 409)
    await cloud.message("query", LEASE, skip=queries)
    before = edged_of(edge).lease.renewals
    await edge.wait_until(lambda: edged_of(edge).lease.renewals > before, 20, "a renewal")


async def test_while_it_is_not_connected_it_says_once_that_it_has_no_lease(
    cloud: Cloud, api: Api, edge: HollowEdge, events: list[Event]
) -> None:
    await cloud.message("update", LEASE)
    cloud.refuse_with = WSUpgradeResponse.create_error_response(503, b"not now")
    edge.link.drop()
    await edge.wait_until(lambda: len(cloud.requests) > 8, 20, "refusals")
    cloud.refuse_with = None
    await edge.wait_until(
        lambda: "renewed again" in [each.detail for each in events], 20, "a lease"
    )
    outage = [each.detail for each in events if each.kind == "no lease"]
    # The first attempt may have been sent before the edge noticed the loss.
    assert [each for each in outage if "no answer" not in each] == [
        f"cannot update {LEASE}: not connected"
    ]


async def test_restarted_it_inserts_once_and_goes_on_with_what_it_has(
    cloud: Cloud, api: Api, edge: HollowEdge
) -> None:
    await edge.wait_until(lambda: is_ready(api), 20, "Ready")
    inserts = sum(message.operation == "insert" for message in cloud.messages)
    await edge.restart()
    await edge.wait_until(lambda: edged_of(edge).node.registered, 20, "registration")
    await cloud.wait(lambda: len(api.patches) == 2)
    assert sum(m.operation == "insert" and m.resource == NODE for m in cloud.messages) == 2
    assert inserts


async def test_with_a_lost_database_it_inserts_until_the_node_is_pushed(
    cloud: Cloud, api: Api, edge: HollowEdge
) -> None:
    await edge.wait_until(lambda: is_ready(api), 20, "Ready")
    await edge.restart(lose_database=True)
    await cloud.message("insert", NODE, skip=3)
    assert not edged_of(edge).node.registered
    pushed = api.push("update", NODE)
    acknowledged = await cloud.message("response", NODE, parent_id=pushed.id)
    assert acknowledged.content == "OK"
    await edge.wait_until(lambda: edged_of(edge).node.registered, 20, "registration")


@pytest.mark.parametrize("version", ["1.15", "1.18", "1.19", "1.20", "1.21", "1.22"])
async def test_older_edges_query_their_node(cloud: Cloud, api: Api, version: str) -> None:
    old = "default/node/edge-1"
    async with HollowEdge("edge-1", cloud.url, kubeedge=version, timing=TIMING) as edge:
        inserted = value_of(await cloud.message("insert", old))
        assert f"kubeedge-v{version}.0" in inserted["status"]["nodeInfo"]["kubeletVersion"]
        await cloud.message("query", old)
        await cloud.message("patch", "default/nodepatch/edge-1")
        await edge.wait_until(lambda: is_ready(api, old), 20, "Ready")
        await edge.restart(lose_database=True)
        await edge.wait_until(lambda: edged_of(edge).node.registered, 20, "registration")
