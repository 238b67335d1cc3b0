"""An outage is one story in the log, in the status, and for all who wait for its end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from modules.common.kube import (
    CONFIGMAPS,
    NODES,
    PODS,
    SECRETS,
    ApiError,
    KubeClient,
    Reflector,
    Unreachable,
    health,
    retry,
    synced,
    syncing,
)
from modules.common.kube.backoff import Backoff
from modules.common.kube.health import REQUESTS, ApiHealth
from tests.support.fake_api_server import (
    Answer,
    FakeServer,
    hangs_up,
    listing,
    refuses,
    replies,
    streams,
)
from tests.support.waiting import DEADLINE, until

from .test_client import kubeconfig

WATCHED = (NODES, PODS, CONFIGMAPS, SECRETS)
NAMES = "configmaps, nodes, pods, secrets"


class Moody:
    """Answers everything as it is told to at the time: lists, watches, and other requests."""

    def __init__(self, server: FakeServer) -> None:
        self.server = server
        self.refusal: Callable[[web.Request], Answer | None] = lambda _: None
        self.ends = asyncio.Event()
        server.always = self.handle

    async def handle(self, request: web.Request) -> web.StreamResponse:
        answer = self.refusal(request)
        if answer is None:
            watches = request.query.get("watch")
            answer = streams(until=self.ends) if watches else listing()
        return await answer(request)

    def refuse(self, answer: Answer, only: str = "") -> None:
        """Answer all requests in this way, or those about one kind, and end all watches."""
        self.refusal = lambda request: answer if request.path.endswith(only) else None
        self.ends.set()
        self.ends = asyncio.Event()

    def serve(self) -> None:
        self.refusal = lambda _: None


class Status:
    """A module's context, as far as it shows something."""

    def __init__(self) -> None:
        self.details: dict[str, Any] = {}
        self.is_ready = asyncio.Event()

    def report(self, **details: Any) -> None:
        self.details.update(details)

    def ready(self) -> None:
        self.is_ready.set()


class Lines:
    """What the log tells of at INFO and above."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self._caplog = caplog

    async def first(self, count: int) -> list[str]:
        await until(lambda: len(self._told()) >= count)
        return self._told()

    def _told(self) -> list[str]:
        return [each.message for each in self._caplog.records if each.name.startswith("modules")]


@pytest.fixture
def api(server: FakeServer) -> Moody:
    return Moody(server)


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Lines:
    caplog.set_level(logging.INFO, "modules.common.kube")
    return Lines(caplog)


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "_TICK", 0.05)


@asynccontextmanager
async def watching(
    client: KubeClient, backoff: float = 0.001, told: Awaitable[object] | None = None
) -> AsyncIterator[Status]:
    """Watch as a module does; with `told` its patience begins when that has happened."""
    status = Status()
    reflectors = [
        Reflector(client, resource, backoff=Backoff(initial=backoff, maximum=backoff))
        for resource in WATCHED
    ]
    tasks = [asyncio.create_task(reflector.run()) for reflector in reflectors]
    tasks.append(asyncio.create_task(client.health.report_to(status)))
    if told is not None:
        await told
    ready = asyncio.create_task(synced(reflectors, client.health, status))
    try:
        yield status
        await asyncio.wait_for(ready, DEADLINE)
    finally:
        for task in (*tasks, ready):
            task.cancel()
        await asyncio.wait((*tasks, ready))


async def all_watched(api: Moody) -> None:
    count = len(api.server.requests)

    def watched() -> bool:
        since = api.server.requests[count:]
        return sum("watch" in request.query for request in since) >= len(WATCHED)

    await until(watched)


async def test_an_outage_is_told_once_with_its_reason_and_its_length(
    api: Moody, client: KubeClient, lines: Lines
) -> None:
    async with watching(client) as status:
        await all_watched(api)
        api.refuse(hangs_up())
        (began,) = await lines.first(1)
        assert began.startswith("the Kubernetes API is not available: no answer from http://127")
        assert began.endswith("; trying again until it answers")
        await until(lambda: status.details.get("waiting_for") is not None)
        assert "no answer from" in status.details["because"]
        errors = client.statistics.errors["unreachable"]
        await until(lambda: client.statistics.errors["unreachable"] > errors + 20)
        api.serve()
        _, ended = await lines.first(2)
        assert ended.startswith("the Kubernetes API is available again after ")
        await until(lambda: status.details["waiting_for"] is None)
        assert status.details["because"] is None
        assert client.health.failing_for == 0
    assert len(await lines.first(2)) == 2


async def test_a_refused_token_is_one_warning_that_says_what_to_do(
    api: Moody, client: KubeClient, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The module counts as ready, for a restart would not help, but does not look as if all were
    well; and the status says so no longer than it is so.
    """
    monkeypatch.setattr(syncing, "PATIENCE", 0.2)
    api.refuse(refuses(401, "Unauthorized", "Unauthorized"))
    async with watching(client, told=lines.first(1)) as status:
        warning, ready = await lines.first(2)
        assert warning == (
            "the Kubernetes API is not available: 401 Unauthorized: Unauthorized; put valid "
            "credentials into the kubeconfig: it is read again automatically"
        )
        assert ready == f"ready, but still waiting for the Kubernetes API to list {NAMES}"
        assert status.is_ready.is_set()
        assert status.details["waiting_for"] == NAMES
        assert status.details["because"].startswith("401 Unauthorized: Unauthorized; put valid")
        api.serve()
        await until(lambda: status.details["waiting_for"] is None)
    assert len(await lines.first(3)) == 3


async def test_a_new_reason_is_told_but_not_each_time_that_two_alternate(
    api: Moody, client: KubeClient, lines: Lines
) -> None:
    async with watching(client):
        await all_watched(api)
        api.refuse(hangs_up())
        await lines.first(1)
        for _ in range(3):
            for answer in (refuses(401, "Unauthorized"), hangs_up()):
                api.refuse(answer)
                asked = len(api.server.requests)
                await until(lambda asked=asked: len(api.server.requests) > asked + 20)  # type: ignore[misc]
                client.health.log_now()
        api.serve()
        told = await lines.first(3)
    assert ["no answer" in told[0], "401" in told[1], "again after" in told[2]] == [True] * 3
    assert len(told) == 3


@pytest.mark.parametrize(
    ("code", "why"), [(429, "storage is (re)initializing"), (503, "not ready")]
)
async def test_a_server_that_fills_its_caches_after_its_start_is_not_back_yet(
    api: Moody, client: KubeClient, lines: Lines, code: int, why: str
) -> None:
    """Custom resources come last; until then the outage is not over, and it is one story."""
    async with watching(client):
        await all_watched(api)
        api.refuse(hangs_up())
        await lines.first(1)
        api.refuse(refuses(code, "", why), only="s")
        await lines.first(2)
        api.refuse(refuses(403, "Forbidden", "no rights"), only="s")
        await until(lambda: client.statistics.errors["403"] > 0)
        api.refuse(refuses(code, "", why), only="secrets")
        asked = len(api.server.requests)
        await until(lambda: len(api.server.requests) > asked + 20)
        api.serve()
        _, reason, ended = await lines.first(3)
    assert reason.startswith(f"the Kubernetes API is not available: {code} ")
    assert reason.endswith(f"{why}; trying again, for it may have started just now")
    assert ended.startswith("the Kubernetes API is available again after")
    assert len(await lines.first(3)) == 3


async def test_another_reason_for_which_a_watch_is_refused_is_logged(
    api: Moody, client: KubeClient, lines: Lines
) -> None:
    """Such as CRDs that were missing, and now are there in another version."""
    async with watching(client):
        await all_watched(api)
        for code in (403, 404, 403):
            api.refuse(refuses(code, "", "no"), only="secrets")
            asked = len(api.server.requests)
            await until(lambda asked=asked: len(api.server.requests) > asked + 20)  # type: ignore[misc]
            client.health.log_now()
        api.serve()
        told = await lines.first(3)
    assert [line.split(": ")[0] for line in told[:2]] == ["cannot watch secrets"] * 2
    assert ["403" in told[0], "404" in told[1]] == [True, True]
    assert told[2].startswith("watching secrets again after")
    assert len(told) == 3


async def test_a_write_that_fails_after_a_start_may_fail_for_its_object_alone(
    server: FakeServer, client: KubeClient
) -> None:
    server.then(*[hangs_up()] * 2, refuses(500, "InternalError", "failed calling webhook"))
    with pytest.raises(Unreachable):
        await client.get(NODES, "n")
    with pytest.raises(ApiError) as caught:
        await client.patch(NODES, "n", {})
    assert not caught.value.outage
    assert client.health.failing_for == 0


async def test_a_right_that_is_missing_is_told_of_its_watches(
    api: Moody, client: KubeClient, lines: Lines
) -> None:
    """And an outage meanwhile is a story of its own."""
    async with watching(client) as status:
        await all_watched(api)
        api.refuse(refuses(403, "Forbidden", "no rights"), only="s")  # all but those of one name
        (told,) = await lines.first(1)
        assert told == (
            f"cannot watch {NAMES}: 403 Forbidden: no rights; grant the rights of "
            "deploy/rbac/cloudcore.yaml"
        )
        api.refuse(refuses(403, "Forbidden", "no rights"), only="secrets")
        await until(lambda: status.details.get("waiting_for") == "secrets")
        api.serve()
        await until(lambda: status.details["waiting_for"] is None)
        _, ended = await lines.first(2)
        assert ended.startswith("watching configmaps, nodes, pods, secrets again after")


async def test_a_list_is_no_sign_that_the_watch_works(
    api: Moody, client: KubeClient, lines: Lines
) -> None:
    """The right to watch is another one than that to list, which a resync uses."""
    forbidden = refuses(403, "Forbidden", "no right to watch")
    api.refusal = lambda request: forbidden if "watch" in request.query else None
    backoff = Backoff(initial=0.001, maximum=0.001)
    reflector = Reflector(client, PODS, resync=0.001, backoff=backoff)
    running = asyncio.create_task(reflector.run())
    await lines.first(1)
    listed = reflector.statistics.lists
    await until(lambda: reflector.statistics.lists > listed + 5)
    client.health.log_now()
    running.cancel()
    await asyncio.wait([running])
    (line,) = await lines.first(1)
    assert line.startswith("cannot watch pods: 403 Forbidden")


async def test_who_gets_through_wakes_all_others(api: Moody, client: KubeClient) -> None:
    """They do not sleep out pauses of their own, which here last for minutes."""
    async with watching(client, backoff=600):
        await all_watched(api)
        api.refuse(hangs_up())
        waiting = [
            asyncio.create_task(
                retry(lambda: client.get(NODES, "n"), client.health, Backoff(initial=600))
            )
            for _ in range(3)
        ]
        await until(lambda: client.statistics.errors["unreachable"] >= 3)
        api.serve()
        watched = asyncio.create_task(all_watched(api))
        await asyncio.sleep(0)
        await client.get(NODES, "n")
        async with asyncio.timeout(DEADLINE):
            await asyncio.gather(*waiting, watched)
        assert client.health.failing_for == 0


async def test_a_kubeconfig_put_right_is_noticed_while_all_wait(
    api: Moody, tmp_path: Path, lines: Lines
) -> None:
    path = tmp_path / "config"
    path.write_text("clusters: [}")
    settings = api.server.settings(tmp_path, master="", kubeconfig=str(path))
    async with KubeClient.connect(settings) as client, watching(client, backoff=600):
        (told,) = await lines.first(1)
        assert told == (
            f"the Kubernetes API is not available: cannot use the kubeconfig {path}: line 1, "
            "column 12: while parsing a flow node expected the node content, but found '}'; "
            "correct it: it is read again automatically"
        )
        path.write_text(kubeconfig(api.server.url))
        _, ended = await lines.first(2)
        assert ended.startswith("the Kubernetes API is available again")


async def test_a_pause_lasts_as_long_as_the_server_has_asked() -> None:
    account = ApiHealth()
    began = asyncio.get_running_loop().time()
    pause = asyncio.create_task(account.pause(0.0, at_least=0.05))
    await asyncio.sleep(0)
    account._wake()
    await pause
    assert asyncio.get_running_loop().time() - began > 0.04


async def test_what_is_served_during_the_pause_that_the_server_asked_for_ends_the_rest() -> None:
    account = ApiHealth()
    pause = asyncio.create_task(account.pause(600.0, at_least=0.05))
    await asyncio.sleep(0)
    account._wake()
    async with asyncio.timeout(DEADLINE):
        await pause


async def test_a_momentary_break_is_not_logged(
    api: Moody, client: KubeClient, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "_TICK", 600)
    async with watching(client):
        await all_watched(api)
        api.refuse(hangs_up())
        await until(lambda: client.health.failing_for > 0)
        api.serve()
        await until(lambda: client.health.failing_for == 0)
    assert not await lines.first(0)


async def test_a_watch_that_opens_ends_an_outage_that_only_requests_have_met() -> None:
    """What was requested may be of no interest any more: nothing else would end it."""
    account = ApiHealth()
    account.failed(REQUESTS, Unreachable("timed out"))
    account.log_now()
    assert account.details()["waiting_for"] == REQUESTS
    account.served("pods")
    assert account.details() == {"waiting_for": None, "because": None}
    assert account.failing_for == 0
    account.close()


async def test_requests_that_find_no_answer_are_told_of_too(
    server: FakeServer, client: KubeClient, lines: Lines
) -> None:
    """While the watches are open, which only listen."""
    status = Status()
    reporting = asyncio.create_task(client.health.report_to(status))
    server.then(*[hangs_up()] * 2)
    waiting = asyncio.create_task(
        retry(lambda: client.get(NODES, "n"), client.health, Backoff(initial=600))
    )
    await lines.first(1)
    await until(lambda: status.details.get("waiting_for") == "requests")
    server.then(replies({}), replies({}))
    await client.get(NODES, "n")
    await waiting
    await until(lambda: status.details["waiting_for"] is None)
    reporting.cancel()
    await asyncio.wait([reporting])


async def test_a_refusal_does_not_end_with_an_outage(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    account = ApiHealth()
    refused, away = ApiError(404, "NotFound", "no such CRD"), Unreachable("no answer")
    account.failed("devices", refused)
    account.log_now()
    account.failed("devices", away)
    account.log_now()
    assert account.details()["because"].startswith("no answer")
    account.failed("devices", refused)
    assert caplog.messages[-1].startswith("the Kubernetes API is available again")
    assert account.details()["waiting_for"] == "devices"
    assert not [each for each in caplog.messages if each.startswith("watching")]
    account.served("devices")
    assert caplog.messages[-1].startswith("watching devices again after")
    account.close()
