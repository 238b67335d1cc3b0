"""The election of a leader, against the embedded API server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from modules.common.kube import LEASES, KubeClient, Unreachable
from modules.common.pki.certificates import Pki
from modules.common.replicas import election
from modules.common.replicas.election import Election
from modules.common.replicas.leases import OF_LEADER, make
from supervisor.api import ReplicasSettings
from tests.support.apiserver import embedded_api
from tests.support.waiting import DEADLINE, until

#: Seconds of a Lease in these tests, by a clock that a test moves; attempts are made in real ones.
DURATION = 1.5
NAMESPACE = "default"


class Candidate:
    """A replica that notes whether it does the leader's work, and when it was cut off the API."""

    def __init__(self, client: KubeClient, name: str) -> None:
        self.working = False
        self.leaders: list[str] = []
        replicas = ReplicasSettings(
            enabled=True, name=name, namespace=NAMESPACE, lease_duration=DURATION
        )
        self.election = Election(client, replicas, "test", on_change=self.leaders.append)

    async def work(self) -> None:
        self.working = True
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            self.working = False

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Candidate]:
        task = asyncio.create_task(self.election.run(self.work))
        try:
            yield self
        finally:
            task.cancel()
            await asyncio.wait([task])


class Clock:
    """The clock by which a Lease is over. It stands still until a test moves it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(election, "time", clock)
    monkeypatch.setattr(election, "_RELEASE", DEADLINE)
    return clock


@pytest.fixture
async def api(tmp_path: Path, pki: Pki) -> AsyncIterator[KubeClient]:
    async with embedded_api(tmp_path, pki) as client:
        yield client


async def lease(api: KubeClient) -> Any:
    return (await api.get(LEASES, "leader.test", NAMESPACE))["spec"]


async def test_one_of_two_leads_and_the_other_at_once_when_it_stops(api: KubeClient) -> None:
    first, second = Candidate(api, "a"), Candidate(api, "b")
    async with second.running():
        await until(lambda: second.working)
        async with first.running():
            await until(lambda: first.leaders == ["b"])
            assert not first.working
            assert not first.election.leads
        assert (await lease(api))["holderIdentity"] == "b"
    async with first.running():
        await until(lambda: first.working)  # by the clock at once
    assert not second.working
    spec = await lease(api)
    assert spec["leaseTransitions"] == 1
    assert spec["holderIdentity"] == ""  # it was given back


async def test_who_cannot_renew_stops_before_another_takes_over(
    api: KubeClient, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = Candidate(api, "a"), Candidate(api, "b")
    attempt = Election._attempt
    cut, looks = False, 0

    async def perhaps_cut(self: Election) -> bool:
        nonlocal looks
        looks += self is second.election
        if cut and self is first.election:
            return False
        return await attempt(self)

    monkeypatch.setattr(Election, "_attempt", perhaps_cut)
    async with first.running():
        await until(lambda: first.working)
        async with second.running():
            await until(lambda: second.leaders == ["a"])
            cut = True
            clock.now += DURATION * 2 / 3
            await until(lambda: not first.working)
            before = looks
            await until(lambda: looks > before + 1)
            assert not second.working
            clock.now += DURATION
            await until(lambda: second.working)
            assert not first.working
            cut = False
            await until(lambda: first.leaders[-1] == "b")
            assert not first.working
            spec = await lease(api)
            assert (spec["holderIdentity"], spec["leaseTransitions"]) == ("b", 1)


async def test_a_leader_that_slept_leads_no_more_from_its_first_moment(
    api: KubeClient, clock: Clock
) -> None:
    first = Candidate(api, "a")
    async with first.running():
        await until(lambda: first.working)
        clock.now += DURATION
        assert not first.election.leads
        await until(lambda: not first.working)


async def test_an_outage_that_is_shorter_than_the_deadline_is_no_loss(
    api: KubeClient, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Candidate(api, "a")
    async with first.running():
        await until(lambda: first.working)
        replace = KubeClient.replace
        failures = 0

        async def failing(self: KubeClient, *arguments: Any, **options: Any) -> Any:
            nonlocal failures
            failures += 1
            clock.now += DURATION / 5
            if failures <= 2:
                raise Unreachable("no answer", request="")
            return await replace(self, *arguments, **options)

        monkeypatch.setattr(KubeClient, "replace", failing)
        await until(lambda: failures >= 4)
        assert first.working
        assert first.leaders == ["a"]


async def test_a_lease_is_given_back_although_a_renewal_of_it_was_broken_off(
    api: KubeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The API server may have written it, and its answer is not waited for."""
    replace = KubeClient.replace
    renewals = 0

    async def unanswered(self: KubeClient, *arguments: Any, **options: Any) -> Any:
        nonlocal renewals
        written = await replace(self, *arguments, **options)
        renewals += 1
        if renewals == 1:
            await asyncio.get_running_loop().create_future()
        return written

    monkeypatch.setattr(KubeClient, "replace", unanswered)
    async with Candidate(api, "a").running():
        await until(lambda: renewals == 1)
    assert (await lease(api))["holderIdentity"] == ""


async def test_a_deleted_lease_is_made_again(api: KubeClient) -> None:
    first = Candidate(api, "a")
    async with first.running():
        await until(lambda: first.working)
        await api.delete(LEASES, "leader.test", NAMESPACE)

        async def is_back() -> bool:
            page = await api.list(LEASES, NAMESPACE)
            return any(each["metadata"]["name"] == "leader.test" for each in page.items)

        async with asyncio.timeout(DEADLINE):
            while not await is_back():
                await asyncio.sleep(0.01)
        assert first.working


@pytest.mark.parametrize(
    "spec",
    [
        {"holderIdentity": "", "leaseTransitions": "many"},
        {"holderIdentity": ["a", "b"], "leaseTransitions": {}},
        {"holderIdentity": "", "leaseTransitions": 3},
    ],
)
async def test_a_lease_that_somebody_has_made_something_else_is_taken(
    api: KubeClient, spec: dict[str, Any]
) -> None:
    await api.create(LEASES, make(OF_LEADER, "test", spec), NAMESPACE)
    first = Candidate(api, "a")
    async with first.running():
        await until(lambda: first.working)
        assert first.leaders == ["a"]
        taken = await lease(api)
    last = spec["leaseTransitions"]
    assert taken["holderIdentity"] == "a"
    assert taken["leaseTransitions"] == (last + 1 if isinstance(last, int) else 1)


async def test_what_the_work_raises_is_raised(api: KubeClient) -> None:
    async def failing() -> None:
        raise LookupError("broken")

    with pytest.raises(LookupError, match="broken"):
        await Candidate(api, "a").election.run(failing)
