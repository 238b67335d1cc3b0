"""Two replicas: what a node has of devices goes with it, and one of them does what is left."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any, cast

import pytest

import ipc
from modules.common.kube import (
    CLUSTEROBJECTSYNCS,
    DEVICES,
    DEVICES_V1BETA1,
    DEVICESTATUSES,
    ApiError,
    KubeClient,
)
from modules.common.sync import fenced_object_syncs
from modules.common.sync.connectivity import REQUEST_EXIST
from modules.common.sync.fenced_object_syncs import FencedObjectSyncs
from modules.common.sync.sync_form import SENT
from modules.common.wire.generations import V1_1, V1_23, tell
from modules.devicecontroller import upstream
from modules.devicecontroller.edges import Edges
from modules.devicecontroller.status.status_patch import StatusPatcher
from modules.devicecontroller.v1beta1 import node_updates
from supervisor.api import KubernetesSettings
from tests.modules.devicecontroller import beta, samples
from tests.modules.devicecontroller.api import Api
from tests.modules.devicecontroller.beta import (
    DEVICE,
    LED,
    MODEL,
    NODE,
    Edge,
    make_device,
    make_model,
    moves,
)
from tests.modules.devicecontroller.controller import Controller, running
from tests.modules.devicecontroller.replicas import (
    Json,
    alpha_connects,
    has_device,
    is_recorded,
    replica,
    sync_of,
    two_replicas,
)
from tests.support.waiting import DEADLINE, eventually

EDGE_UPDATED = f"device/{beta.ID}/twin/edge_updated"


pytestmark = pytest.mark.usefixtures("object_syncs_soon")


@pytest.mark.parametrize("protocol", ["modbus", "a-protocol-of-a-long-name-" * 10])
async def test_a_device_that_is_deleted_while_its_edge_moves_is_deleted_on_the_edge(
    api: Api, protocol: str
) -> None:
    spec = {"protocolName": protocol, "configData": {}}
    async with two_replicas(api) as (a, b):
        edge, device = await has_device(api, a, beta.device(protocol=spec))
        await edge.disconnect()
        await api.client.delete(DEVICES_V1BETA1, LED, "default")
        moved = Edge(b)
        await moved.connect()
        members = await moved.said("update", "membership")
        assert members.content["removed_devices"][0]["id"] == beta.ID
        deletions = [await b.said(), await b.said()]
        (deleted,) = (each for each in deletions if each.resource.endswith(DEVICE))
        assert deleted.operation == "delete"
        # By the protocol the edge finds the mapper that has to drop it.
        assert deleted.content["metadata"]["uid"] == device["metadata"]["uid"]
        assert deleted.content["spec"]["protocol"] == {"protocolName": protocol}
        for each in deletions:
            await moved.acknowledge(each)
        await eventually(lambda: sync_of(api, device), lambda sync: sync is None)


async def test_the_replica_that_takes_over_sends_what_differs(api: Api) -> None:
    async with two_replicas(api) as (a, b):
        edge, _ = await has_device(api, a)
        await edge.disconnect()
        changed = beta.device(value="ON")["spec"]
        await api.client.patch(DEVICES_V1BETA1, LED, {"spec": changed}, "default")
        moved = Edge(b)
        await moved.connect()
        sent = await moved.takes("update", DEVICE)  # and neither the model nor the list
        assert sent.content["spec"]["properties"][0]["desired"]["value"] == "ON"
        # The former holder has sent nothing, though it has seen the change too.
        await make_device(api, beta.device("marker", node="another"))
        await Edge(a, "another").connect()
        await Edge(a, "another").said("update", "membership")


async def test_the_record_says_what_is_about_to_be_sent(api: Api) -> None:
    async with replica(api, "a") as a:
        await make_model(api)
        device = await make_device(api)
        edge = Edge(a)
        await edge.connect()
        await edge.said("update", "membership")
        sync = await sync_of(api, device)
        assert sync
        assert sync["metadata"]["annotations"][SENT] == '"modbus"'
        await edge.takes("insert", MODEL)
        await edge.takes("insert", DEVICE)
        await is_recorded(api, device)
        await api.client.delete(DEVICES_V1BETA1, LED, "default")
        await edge.said("update", "membership")
        sync = await sync_of(api, device)
        assert sync
        assert sync["status"]["objectResourceVersion"] == "0"


async def test_an_answer_does_not_count_if_another_replica_has_the_node(api: Api) -> None:
    async with two_replicas(api) as (a, b):
        model = await make_model(api)
        device = await make_device(api)
        edge = Edge(a)
        await edge.connect()
        await edge.said("update", "membership")
        await edge.takes("insert", MODEL)
        await is_recorded(api, model)
        late = await edge.said("insert", DEVICE)
        moved = Edge(b)
        await moved.connect()
        inserted = await b.said()
        while not inserted.resource.endswith(DEVICE):
            await moved.acknowledge(inserted)
            inserted = await b.said()
        taken = await sync_of(api, device)
        await edge.acknowledge(late)
        again = await a.said()  # its write has failed, so that it would send the device again
        assert again.resource.endswith(DEVICE)
        assert await sync_of(api, device) == taken
        await moved.acknowledge(inserted)
        await is_recorded(api, device)


async def test_what_is_to_be_written_first_does_not_grow_with_what_a_node_has(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    weaken, asked, count = FencedObjectSyncs.weaken, list[Any](), 12

    async def notes(syncs: FencedObjectSyncs, rows: Any) -> set[str]:
        rows = list(rows)
        asked.extend(rows)
        return await weaken(syncs, rows)

    monkeypatch.setattr(FencedObjectSyncs, "weaken", notes)
    async with replica(api, "a") as a:
        await make_model(api)
        devices = [await make_device(api, beta.device(f"d-{number}")) for number in range(count)]
        edge = Edge(a)
        await edge.connect()
        inserted = 0
        while inserted < count:
            message = await a.said()
            if message.operation == "insert":
                inserted += message.resource.partition("/device/")[1] != ""
                await edge.acknowledge(message)
        for device in devices:
            await is_recorded(api, device)
    # Each in the list and by itself, and the model; a few more if the list came in parts.
    assert len(asked) <= 3 * count


async def test_a_row_that_cannot_be_written_delays_no_other_device_and_no_other_node(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A webhook that fails refuses the one, and nobody waits until it works again."""
    monkeypatch.setattr(fenced_object_syncs, "_PATIENCE", 3600.0)
    monkeypatch.setattr(node_updates, "_AGAIN", 0.1)
    monkeypatch.setattr(node_updates, "_AT_ONCE", 1)
    create, works, refused = KubeClient.create, asyncio.Event(), set[str]()

    async def failing(client: KubeClient, resource: Any, obj: Any, *arguments: Any) -> Any:
        if obj["metadata"].get("name", "").rpartition(".")[2] in refused and not works.is_set():
            raise ApiError(500, "InternalError", "failed calling webhook")
        return await create(client, resource, obj, *arguments)

    monkeypatch.setattr(KubeClient, "create", failing)
    async with replica(api, "a") as a:
        bad = await make_device(api, beta.device("bad", deviceModelRef=None))
        refused.add(bad["metadata"]["uid"])
        await make_device(api, beta.device("good", deviceModelRef=None))
        await make_device(api, beta.device("marker", node="another", deviceModelRef=None))
        edge, another = Edge(a), Edge(a, "another")
        await another.connect()
        await another.takes_device("marker", with_model=False)
        await edge.connect()
        await asks(edge)
        assert await gets_list(edge) == ["default/good"]
        await edge.takes("insert", "default/device/good")
        await make_device(api, beta.device("second", node="another", deviceModelRef=None))
        await another.takes_device("second", with_model=False)
        works.set()
        await edge.takes_device("bad", with_model=False)


async def test_a_loss_while_the_record_is_read_is_not_forgotten(api: Api) -> None:
    async with two_replicas(api) as (a, b):
        edge, _ = await has_device(api, a)
        await edge.disconnect()
        moved = Edge(b)
        await moved.connect()
        await b.hear(NODE, "", None, "lost", "edgecontroller")
        await moved.takes_device()


class Gate:
    """Holds calls of a method of FencedObjectSyncs that are about a node, until it is opened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, method: str, node: str = NODE) -> None:
        self.is_open = asyncio.Event()
        self.is_reached = asyncio.Event()
        original = getattr(FencedObjectSyncs, method)

        async def held(syncs: FencedObjectSyncs, about: Any, *arguments: Any) -> Any:
            about = about if isinstance(about, str) else list(about)
            if node in ([about] if isinstance(about, str) else [each[0] for each in about]):
                self.is_reached.set()
                await self.is_open.wait()
            return await original(syncs, about, *arguments)

        monkeypatch.setattr(FencedObjectSyncs, method, held)


async def asks(edge: Edge) -> None:
    await edge.controller.hear(edge.node, "membership/detail", b"{}", "get")


async def gets_list(edge: Edge) -> list[str]:
    await edge.said("response", "twin")
    answer = await edge.said("update", "membership/detail")
    return [each["id"] for each in answer.content["devices"]]


async def has_seen_all(api: Api, controller: Controller) -> None:
    """Wait until a controller has handled all that was said and all that has changed before."""
    other = Edge(controller, "another")
    await other.connect()
    await make_device(api, beta.device("marker", node=other.node, deviceModelRef=None))
    await other.takes_device("marker", with_model=False)


async def test_what_has_come_since_the_answer_is_added_to_the_list(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record has the device, as its deletion was not acknowledged, but the answer has not."""
    async with two_replicas(api) as (a, b):
        edge, _ = await has_device(api, a)
        await edge.disconnect()
        await moves(api, "other")
        await has_seen_all(api, b)
        writing = Gate(monkeypatch, "weaken")
        moved = Edge(b)
        await moved.connect()
        await asks(moved)
        await writing.is_reached.wait()
        await moves(api, NODE)
        await make_device(api, beta.device("second", node="another", deviceModelRef=None))
        await Edge(b, "another").takes_device("second", with_model=False)
        writing.is_open.set()
        assert await gets_list(moved) == []
        added = await moved.said("update", "membership")
        assert [each["id"] for each in added.content["added_devices"]] == [beta.ID]


async def test_an_edge_of_today_is_never_sent_the_devices_of_v1alpha1(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would take them for its whole list, and drop its own."""
    async with replica(api, "a") as a:
        edge, _ = await has_device(api, a)
        writing = Gate(monkeypatch, "write_first", "old")
        await api.make_node("old")
        await a.hear("old", "", tell(V1_1), "connected", "cloudhub")
        await api.create(DEVICES, samples.device("old-device", node="old"))
        await writing.is_reached.wait()
        await edge.disconnect()  # what it has asked for is to be dropped, after that device
        await edge.connect()
        await has_seen_all(api, a)
        writing.is_open.set()
        old = await a.said()
        assert old.resource == "node/old/membership"
        await edge.disconnect()
        await edge.connect()
        await asks(edge)
        assert await gets_list(edge) == [beta.ID]


async def test_who_asks_before_the_record_is_read_is_answered_after_it(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with two_replicas(api) as (a, b):
        edge, _ = await has_device(api, a)
        await edge.disconnect()
        reading = Gate(monkeypatch, "load_node")
        moved = Edge(b)
        await moved.connect()
        await asks(moved)
        await has_seen_all(api, b)
        reading.is_open.set()
        assert await gets_list(moved) == [beta.ID]


async def test_what_an_edge_has_lost_is_in_the_record_before_edgecontroller_is_answered(
    api: Api,
) -> None:
    async with replica(api, "a") as a:
        _, device = await has_device(api, a)
        lost = ipc.Message.build("edgecontroller", "resource", "lost", f"node/{NODE}", None)
        (answer,) = await a.cloudhub.send_to_group_sync("devicecontroller", lost)
        assert answer.operation == "response"
        sync = await sync_of(api, device)
        assert sync
        assert sync["status"]["objectResourceVersion"] == "0"


async def test_a_property_that_goes_while_an_edge_of_v1_1_moves_is_removed_there(api: Api) -> None:
    async with two_replicas(api) as (a, b):
        twins = {"power-status": "OFF", "old": "x"}
        created = await api.create(DEVICES, samples.device(twins=twins))
        assert (await alpha_connects(a))[LED]["twin"].keys() == twins.keys()
        name = f"{NODE}.{created['metadata']['uid']}"
        assert SENT in (await api.client.get(CLUSTEROBJECTSYNCS, name))["metadata"]["annotations"]
        await a.hear(NODE, "", None, "disconnected", "cloudhub")
        await api.desire(LED, **{"power-status": "OFF"})
        described = (await alpha_connects(b))[LED]
        assert described["twin"]["old"]["metadata"]["type"] == "deleted"


async def is_asked(controller: Controller) -> None:
    """Be asked whether the edge is connected, as the next thing, and deny it."""
    question = await controller.cloudhub.receive(timeout=DEADLINE)
    assert (question.operation, question.resource) == (REQUEST_EXIST, f"node/{NODE}"), question
    denial = question.error("not connected", source="cloudhub")
    await controller.cloudhub.send_resp(denial)


async def test_a_replica_whose_row_another_one_has_written_asks_whether_the_edge_is_here(
    api: Api,
) -> None:
    """Its CloudHub may have crashed, and the edge has dialled another replica since."""
    async with two_replicas(api) as (a, b):
        await api.create(DEVICES, samples.device(twins={"power-status": "OFF"}))
        await alpha_connects(a)
        await alpha_connects(b)
        await api.desire(LED, **{"power-status": "ON"})
        changed = await b.said()
        assert changed.resource == f"node/{NODE}/device/{LED}/twin/cloud_updated"
        await is_asked(a)
        await api.desire(LED, **{"power-status": "OFF"})
        assert (await b.said()).resource == changed.resource
        await a.hear("other", "", tell(V1_1), "connected", "cloudhub")
        await a.hear("other", "membership/detail", b"{}", "get")
        assert (await a.said()).resource == "node/other/membership/detail"


async def test_an_edge_of_v1_1_that_a_restarted_replica_finds_is_sent_its_devices_unasked(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upstream, "_ASK_WITHIN", 1000.0)  # what one that has connected is given
    await api.create(DEVICES, samples.device())
    async with replica(api, "a") as a:
        await alpha_connects(a)
    async with replica(api, "a") as a:
        a.edges[NODE] = V1_1
        answer = await a.said()
        assert answer.resource == f"node/{NODE}/membership/detail"
        assert [each["id"] for each in answer.content["devices"]] == [LED]


class Held:
    """Patches of the API that have not got through yet."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun = asyncio.Event()
        self.given_up = asyncio.Event()
        self._patch = StatusPatcher.patch
        monkeypatch.setattr(StatusPatcher, "patch", self._hold)
        self._monkeypatch = monkeypatch

    async def _hold(self, *_: Any, **__: Any) -> None:
        self.begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.given_up.set()

    def release(self) -> None:
        self._monkeypatch.setattr(StatusPatcher, "patch", self._patch)


def twin_of(obj: Json | None) -> str:
    twins = ((obj or {}).get("status") or {}).get("twins") or [{}]
    return str((twins[0].get("reported") or {}).get("value"))


async def test_a_report_that_waits_is_dropped_when_its_node_goes_elsewhere(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with two_replicas(api) as (a, b):
        edge, _ = await has_device(api, a)
        await api.until(DEVICESTATUSES, LED, "default", lambda found: found is not None)
        held = Held(monkeypatch)
        await a.hear(NODE, EDGE_UPDATED, beta.twin_update(power_status="OLD"))
        await held.begun.wait()
        await edge.disconnect()
        await held.given_up.wait()
        held.release()
        moved = Edge(b)
        await moved.connect()
        update = beta.twin_update(power_status="NEW")
        await moved.reports(EDGE_UPDATED, update)
        await edge.connect()  # the former holder goes on with other devices and nodes
        await edge.reports(EDGE_UPDATED, beta.twin_update(power_status="LAST"))
        await api.until(DEVICESTATUSES, LED, "default", lambda found: twin_of(found) == "LAST")


async def test_a_report_of_v1alpha1_that_waits_is_dropped_when_its_node_goes_elsewhere(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with replica(api, "a") as a:
        await api.create(DEVICES, samples.device(twins={"power-status": "ON"}))
        await alpha_connects(a)
        await api.device(LED, lambda found: accepted(found) != "")
        held = Held(monkeypatch)
        await a.hear(NODE, f"device/{LED}/twin/edge_updated", samples.report("OLD", 1))
        await held.begun.wait()
        await a.hear(NODE, "", None, "disconnected", "cloudhub")
        await held.given_up.wait()
        held.release()
        await alpha_connects(a)  # which is answered by no confirmation of what was dropped
        sent = await a.hear(NODE, f"device/{LED}/twin/edge_updated", samples.report("NEW", 2))
        assert (await a.said()).parent_id == sent.id
        await api.device(LED, lambda found: twin_of(found) == "NEW")


async def test_only_the_replica_with_the_edge_sends_devices_of_v1alpha1(api: Api) -> None:
    async with two_replicas(api) as (a, b):
        await api.make_node(NODE)
        assert await alpha_connects(a) == {}
        await api.create(DEVICES, samples.device())
        added = await a.said()
        assert added.content["added_devices"][0]["id"] == LED
        await a.hear(NODE, "", None, "disconnected", "cloudhub")
        assert LED in await alpha_connects(b)  # its first message


async def test_what_was_recorded_without_replicas_is_not_lost(api: Api) -> None:
    directory = api.settings.data_dir
    single = replace(api.settings, data_dir=directory / "a")
    single = replace(
        single, kubernetes=KubernetesSettings(kubeconfig=str(directory / "kubeconfig"))
    )
    async with running(single) as before:
        await make_model(api)
        await make_device(api)
        edge = Edge(before)
        await edge.connect()
        await edge.takes_device()
    await api.client.delete(DEVICES_V1BETA1, LED, "default")
    async with two_replicas(api) as (_, b):
        moved = Edge(b)
        await moved.connect()
        members = await moved.said("update", "membership")
        assert members.content["removed_devices"][0]["id"] == beta.ID


def accepted(obj: Json | None) -> str:
    conditions = ((obj or {}).get("status") or {}).get("conditions") or []
    return next((each["reason"] for each in conditions if each["type"] == "Accepted"), "")


async def test_the_leader_looks_after_devices_of_nodes_that_are_connected_nowhere(api: Api) -> None:
    async with two_replicas(api):
        await make_device(api)
        await api.until(DEVICES_V1BETA1, LED, "default", lambda found: accepted(found) != "")
        await api.until(DEVICESTATUSES, LED, "default", lambda found: found is not None)


async def test_who_has_the_edge_writes_the_condition_and_the_leader_leaves_it(api: Api) -> None:
    async with replica(api, "a") as leader, replica(api, "b") as b:
        await Edge(b).connect(generation=V1_1)
        await make_model(api)
        await make_device(api)
        reason = "OtherVersion"
        found = await api.until(
            DEVICES_V1BETA1, LED, "default", lambda found: accepted(found) == reason
        )
        # The leader does not know this edge: its turn comes later, and changes nothing.
        await leader.detail("devices", 1)
        await make_device(api, beta.device("later", node="nowhere"))
        await api.until(DEVICES_V1BETA1, "later", "default", lambda found: accepted(found) != "")
        assert await api.client.get(DEVICES_V1BETA1, LED, "default") == found


async def test_conditions_go_on_after_the_leader(api: Api) -> None:
    async with replica(api, "b"):
        async with replica(api, "a"):
            await make_model(api)
        await make_device(api)
        await api.until(DEVICES_V1BETA1, LED, "default", lambda found: accepted(found) != "")


def test_of_nodes_that_are_gone_no_connection_is_kept() -> None:
    """Where edges come and go, each with a new name, they would become ever more."""
    nodes = {("", "here"): {"metadata": {"name": "here"}}}
    edges = Edges(cast("Any", None), {}, nodes, lambda _: None, on_connected=lambda *_: None)
    for node in ("here", "gone", "connected"):
        edges.connected(node, V1_23)
    for node in ("here", "gone"):
        edges.disconnected(node)
    assert edges.forget_gone() == ["gone"]
    assert list(edges._connections) == ["here", "connected"]
    assert list(edges._connectivity._heard) == ["here", "connected"]
    assert list(edges._generations) == ["connected"]
