"""CloudHub as one of several replicas, against the embedded API server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from ipc import open_contexts
from modules.cloudhub.cluster.leader import Leader
from modules.cloudhub.cluster.protocol import ROSTER, process_message
from modules.cloudhub.replicas import suspension
from modules.cloudhub.replicas.lease_watch import LeaseWatch
from modules.cloudhub.replicas.node_leases import NodeLeases
from modules.cloudhub.replicas.presence import Presence
from modules.common.kube import LEASES, KubeClient, NotFound, Unreachable
from modules.common.pki.certificates import Pki
from modules.common.replicas.leases import OF_NODE, make
from supervisor.api import TemporaryFailure
from tests.modules.cloudhub.claiming import LEASE, NAMESPACE, NODE, lease, running, take
from tests.modules.cloudhub.cloud import DEADLINE, HubContext, Join
from tests.support.apiserver import embedded_api
from tests.support.aside import make_set_aside
from tests.support.waiting import eventually, until

#: RFC 6455 and the registry of IANA: Try Again Later, Service Restart.
TRY_AGAIN_LATER, SERVICE_RESTART = 1013, 1012


@pytest.fixture
async def api(tmp_path: Path, pki: Pki) -> AsyncIterator[KubeClient]:
    async with embedded_api(tmp_path, pki) as client:
        yield client


async def test_a_node_is_held_by_whom_it_dials_and_let_go_when_another_takes_it(
    api: KubeClient, pki: Pki, join: Join
) -> None:
    async with running(api, pki) as cloud:
        edge = await join(cloud)
        await cloud.expect(NODE, "connected")
        spec = await lease(api)
        assert (spec["holderIdentity"], spec["leaseTransitions"]) == ("a", 1)
        await until(lambda: cloud.context.details.get("nodes_held") == 1)
        await take(api, "b")
        await cloud.expect(NODE, "disconnected")
        assert (await edge.closed())[1].startswith("replaced by a newer connection")
        await until(lambda: cloud.context.details["nodes_held"] == 0)

        await join(cloud)
        await cloud.expect(NODE, "connected")
        spec = await lease(api)
        assert (spec["holderIdentity"], spec["leaseTransitions"]) == ("a", 3)


async def test_after_a_restore_of_the_api_a_node_is_claimed_anew(
    api: KubeClient, pki: Pki, join: Join
) -> None:
    async with running(api, pki) as cloud:
        await join(cloud)
        await cloud.expect(NODE, "connected")
        await take(api, "b", transitions=8)
        await cloud.expect(NODE, "disconnected")
        await join(cloud)
        await cloud.expect(NODE, "connected")
        await take(api, "b", transitions=1)
        await eventually(lambda: lease(api), lambda spec: spec["holderIdentity"] == "a")
        assert (await lease(api))["leaseTransitions"] == 2
        await take(api, "b")
        await cloud.expect(NODE, "disconnected")  # not before


async def test_two_replicas_of_one_api(api: KubeClient, pki: Pki, join: Join) -> None:
    async with running(api, pki, "a") as a, running(api, pki, "b") as b:
        for number in range(3):
            await join(a)
            await a.expect(NODE, "connected")
            if number:
                await b.expect(NODE, "disconnected")
            await join(b)
            await b.expect(NODE, "connected")
            await a.expect(NODE, "disconnected")
        assert (await lease(api))["leaseTransitions"] == 6
        for name in ("replica.a", "replica.b"):
            assert (await lease(api, name))["leaseDurationSeconds"] == 15
    page = await api.list(LEASES, NAMESPACE)
    assert [each["metadata"]["name"] for each in page.items] == [LEASE]  # they have gone in order


async def test_a_node_that_was_held_here_last_is_served_without_a_write(
    api: KubeClient, pki: Pki, join: Join
) -> None:
    async with running(api, pki) as cloud:
        edge = await join(cloud)
        await cloud.expect(NODE, "connected")
        await edge.leave()
        await cloud.expect(NODE, "disconnected")
        version = (await api.get(LEASES, LEASE, NAMESPACE))["metadata"]["resourceVersion"]
        await join(cloud)
        await cloud.expect(NODE, "connected")
        found = await api.get(LEASES, LEASE, NAMESPACE)
        assert found["metadata"]["resourceVersion"] == version


async def test_a_node_of_another_is_refused_while_the_api_does_not_answer(
    api: KubeClient, pki: Pki, join: Join, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(api, pki) as cloud:

        async def away(*_: Any, **__: Any) -> Any:
            raise Unreachable("nobody answers", request="create leases")

        monkeypatch.setattr(KubeClient, "create", away)
        edge = await join(cloud)
        code, reason = await edge.closed()
        assert code == TRY_AGAIN_LATER
        assert "does not say who holds the node" in reason
        assert "lease" in cloud.context.details["refused"] or cloud.hub.statistics.refused["lease"]


async def test_after_a_long_stop_all_nodes_are_let_go_before_anything_is_sent(
    api: KubeClient, pki: Pki, join: Join, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(api, pki) as cloud:
        edge = await join(cloud)
        await cloud.expect(NODE, "connected")
        clock = suspension.time.monotonic
        monkeypatch.setattr(suspension.time, "monotonic", lambda: clock() + 16)
        await cloud.send(NODE, "default/pod/p")
        code, reason = await edge.closed()  # and no message before
        assert code == SERVICE_RESTART
        assert reason.startswith("cloudcore was stopped for 16 s")
        await cloud.expect(NODE, "disconnected")


async def test_two_cloudcores_of_one_name_are_noticed(
    api: KubeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (
        Presence(
            api,
            NAMESPACE,
            "a",
            duration=0.3,
            address="",
            nodes=lambda: 0,
            on_renewed=lambda _: None,
        )
        for _ in range(2)
    )
    running = asyncio.create_task(first.run())
    await eventually(lambda: api.get(LEASES, "replica.a", NAMESPACE), bool)
    other = asyncio.create_task(second.run())
    with pytest.raises(TemporaryFailure, match="another cloudcore has the name 'a' too"):
        await asyncio.wait_for(running, DEADLINE)
    assert not other.done()
    other.cancel()
    await asyncio.wait([other])


class Ownership:
    """Grants a node when the test says so."""

    def __init__(self) -> None:
        self.claims: dict[str, Any] = {}
        self.gone: list[str] = []

    def claim(self, node: str, done: Any, *, has_dialed: bool = True) -> bool:
        self.has_dialed = has_dialed
        self.claims[node] = done
        return False

    def left(self, node: str) -> None:
        self.gone.append(node)


class Member:
    """A session, as far as the cluster is concerned."""

    def __init__(self, serial: int) -> None:
        self.node, self.serial = NODE, serial
        self.generation_name = ""
        self.pending = True
        self.heard: list[str] = []

    def granted(self) -> None:
        self.heard.append("granted")

    def refused(self, reason: str, cause: str = "limit") -> None:
        self.heard.append(f"refused for {cause}: {reason}")

    def replaced(self) -> None:
        self.heard.append("replaced")

    def start_over(self, reason: str) -> None:
        self.heard.append(reason)


def node_leases(api: KubeClient) -> NodeLeases:
    watch = LeaseWatch(api, NAMESPACE, "a", make_set_aside())
    return NodeLeases(api, NAMESPACE, "a", watch, pytest.fail)


async def test_a_node_that_leaves_before_its_claim_begins_is_not_claimed(api: KubeClient) -> None:
    leases = node_leases(api)
    assert not leases.claim(NODE, pytest.fail)
    (claim,) = leases._claims
    leases.left(NODE)
    await claim
    assert len(leases) == 0
    with pytest.raises(NotFound):
        await lease(api)


@pytest.mark.parametrize("has_dialed", [False, True])
async def test_a_session_that_is_found_takes_no_node_from_another_replica(
    api: KubeClient, *, has_dialed: bool
) -> None:
    """It may have been left while its process was not heard; one that has dialed is the newest."""
    spec = {"holderIdentity": "b", "leaseTransitions": 3}
    await api.create(LEASES, make(OF_NODE, NODE, spec), NAMESPACE)
    leases = node_leases(api)
    reasons: list[str] = []
    assert not leases.claim(NODE, reasons.append, has_dialed=False)
    if has_dialed:
        assert not leases.claim(NODE, reasons.append)
    await until(lambda: bool(reasons))
    assert reasons == (["", ""] if has_dialed else ["replica b holds the node now"])
    assert (await lease(api))["holderIdentity"] == ("a" if has_dialed else "b")


async def test_a_claim_is_refused_that_another_has_followed_before_its_answer_came(
    api: KubeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    leases = node_leases(api)
    watching = asyncio.create_task(leases._watch.run())
    create = api.create

    async def create_and_answer_late(*args: Any) -> Any:
        made = await create(*args)
        await take(api, "b")
        await until(lambda: leases.other_holder(NODE) == "b")
        return made

    monkeypatch.setattr(api, "create", create_and_answer_late)
    reasons: list[str] = []
    assert not leases.claim(NODE, reasons.append)
    await until(lambda: bool(reasons))
    assert reasons == ["replica b holds the node now"]
    assert len(leases) == 0
    watching.cancel()
    await asyncio.wait([watching])


def test_nodes_of_a_process_that_holds_them_no_more_are_let_go() -> None:
    """It was killed, and says so with a roster; its edges may have dialed another replica."""
    ownership = Ownership()
    contexts = open_contexts({"cloudhub": "cloudhub", "cloudhub-2": ""})
    context: Any = HubContext(contexts["cloudhub"].registry, "cloudhub")
    first = Leader(context, ("cloudhub-2",), 10, {}, publish=lambda *_: None, ownership=ownership)
    first.handle(process_message(ROSTER, ["cloudhub-2", [[NODE, 7, ""]]]))
    assert (list(ownership.claims), ownership.gone) == ([NODE], [])
    assert not ownership.has_dialed
    first.handle(process_message(ROSTER, ["cloudhub-2", []]))
    assert ownership.gone == [NODE]
    for each in (*contexts.values(), context):
        each.close()


def test_only_the_newest_session_gets_the_decision() -> None:
    ownership, sessions = Ownership(), dict[str, Any]()
    context = HubContext(open_contexts({"cloudhub": "cloudhub"})["cloudhub"].registry, "cloudhub")
    leader = Leader(
        context,  # type: ignore[arg-type]
        (),
        10,
        sessions,
        publish=lambda *_: None,
        ownership=ownership,
    )
    old, new = Member(1), Member(2)
    assert not leader.claim(old)
    sessions[NODE] = old
    decide_old = ownership.claims[NODE]
    assert not leader.claim(new)
    sessions[NODE] = new
    decide_old("")
    assert old.heard == ["replaced"]
    ownership.claims[NODE]("no answer")
    assert new.heard == ["refused for lease: no answer"]
    leader.release(old)
    assert ownership.gone == []
    leader.release(new)
    assert ownership.gone == [NODE]
    context.close()
