"""How requests of edges are answered: failures, what nobody serves, outages; and what waits."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, cast

import pytest

from ipc import Message, open_contexts
from modules.common.kube import (
    NODES,
    ApiError,
    BadObject,
    ConfigurationError,
    Conflict,
    Forbidden,
    Invalid,
    KubeClient,
    NotFound,
    TooManyRequests,
    Unauthorized,
    Unreachable,
)
from modules.common.kube.health import REQUESTS, ApiHealth
from modules.common.message_resource import ObjectResource
from modules.common.pki.certificates import Pki
from modules.common.wire.generations import V1_1, V1_23
from modules.edgecontroller.upstream import calls
from modules.edgecontroller.upstream.answers import Answers, status_of
from modules.edgecontroller.upstream.authorization import Denied
from supervisor.api import KubernetesSettings, Settings
from tests.support.apiserver import running_server
from tests.support.pki import copy_pki
from tests.support.waiting import eventually

from .cloud import Cloud
from .objects import NODE, Json, node
from .today import LEASE, PATCH, bound, fields, pod_patch, reason, register, responds

pytestmark = pytest.mark.timeout(60)

UNSERVED = [
    ("query", "default/service-x/a"),
    ("delete", f"null/node/{NODE}"),
    ("insert", "default/configmap/a"),
    ("query", "default/pod"),
    ("steal", "default/pod/a"),
]


@pytest.mark.parametrize(("operation", "resource"), UNSERVED)
async def test_what_nobody_serves_has_an_answer(
    today: Cloud, operation: str, resource: str
) -> None:
    answer = await today.call(operation, resource, {})
    assert (answer.source, answer.group, answer.operation) == (
        "edgecontroller",
        "resource",
        "error",
    )
    assert answer.content == "no such request exists"


@pytest.mark.parametrize("generation", [V1_1, ""])
async def test_an_edge_that_may_store_an_answer_gets_none(running: Cloud, generation: str) -> None:
    await running.connect(generation=generation)
    await running.refer_to("none")
    asked = [await running.from_edge(*unserved, {}) for unserved in UNSERVED] + [
        await running.from_edge("query", "default/configmap/none"),
        await running.from_edge("update", "default/podstatus/none", {"Name": 5}),
    ]
    answered = {message.parent_id for message in await running.drain()}
    assert not answered & {message.id for message in asked}


async def test_an_answer_to_an_answer_is_none(today: Cloud) -> None:
    """An edge acknowledges what it has stored of an answer."""
    answer = await today.call("query", "default/configmap/none")
    for operation in ("response", "error"):
        acknowledgement = Message.build(
            "edgecontroller", "resource", operation, answer.resource, "OK", parent_id=answer.id
        )
        await today.hub.send("edgecontroller", acknowledgement)
    assert [each for each in await today.drain() if each.parent_id] == []


async def test_the_authority_is_that_of_the_api_server(today: Cloud, pki: Pki) -> None:
    answer = await today.call("query", "k8s/ca.crt")
    assert fields(answer) == responds("k8s/ca.crt")
    assert answer.content == pki.ca_cert.read_text()


async def test_an_authority_that_is_not_known_is_not_answered(
    today: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An edge would write any text into its file of the CA."""
    monkeypatch.setattr(KubeClient, "authority", "")
    question = await today.ask("query", "k8s/ca.crt")
    assert question.id not in {message.parent_id for message in await today.drain()}


async def test_a_pods_status_is_acknowledged_to_edges_of_today(today: Cloud) -> None:
    await register(today)
    uid = (await bound(today))["metadata"]["uid"]
    status = {"Name": "p", "UID": uid, "Status": {"phase": "Running"}}
    for resource, content in (("default/podstatus/p", status), ("default/podstatus", [status])):
        answer = await today.call("update", resource, content)
        assert (fields(answer), answer.content) == (responds("default/podstatus/p"), "OK")
    content = status | {"Status": {"phase": 5}}
    answer = await today.call("update", "default/podstatus/p", content)
    assert answer.operation == "error"
    assert "Status.phase" in answer.content


# The Status of a failure

FAILURES: list[tuple[Exception, int, str]] = [
    (NotFound(404, "NotFound", "pods x", details={"name": "x"}), 404, "NotFound"),
    (Conflict(409, "Conflict", "changed"), 409, "Conflict"),
    (Invalid(422, "Invalid", "spec"), 422, "Invalid"),
    (Forbidden(403, "Forbidden", "RBAC"), 403, "Forbidden"),
    (TooManyRequests(429, "TooManyRequests", "later"), 429, "TooManyRequests"),
    (ApiError(500, "InternalError", "oops"), 500, "InternalError"),
    (Denied("no"), 403, "Forbidden"),
    (BadObject("a.b", "expected string"), 400, "BadRequest"),
    (Unreachable("/secret/path"), 503, "ServiceUnavailable"),
    (Unauthorized(401, "Unauthorized", "/secret/path"), 503, "ServiceUnavailable"),
    (ConfigurationError("/secret/path"), 503, "ServiceUnavailable"),
    (ZeroDivisionError("/secret/path"), 500, "InternalError"),
]


@pytest.mark.parametrize(("error", "code", "reason_"), FAILURES, ids=lambda each: repr(each)[:40])
def test_every_failure_has_a_status(error: Exception, code: int, reason_: str) -> None:
    status = status_of(error)
    assert (status["code"], status["reason"], status["status"]) == (code, reason_, "Failure")
    assert status["message"]
    assert "/secret/path" not in status["message"]
    if isinstance(error, ApiError) and not error.outage:
        assert (status["message"], status["details"]) == (error.message, error.details)


# While the API server is away


async def test_a_call_during_an_outage_fails_and_works_afterwards(
    tmp_path: Path, pki: Pki, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At first it waits for the outage to end; later it fails at once.

    An edge of v1.1 does not understand errors, and is answered when the outage is over.
    """
    data = tmp_path / "apiserver"
    copy_pki(pki, data)
    kubernetes = KubernetesSettings(kubeconfig=str(data / "kubeconfig"), qps=0)
    settings = Settings(tmp_path, tmp_path, kubernetes)
    contexts = open_contexts({"cloudhub": "cloudhub", "edgecontroller": "edgecontroller"})
    async with AsyncExitStack() as controller:
        async with running_server(data), KubeClient.connect(settings) as api:
            cloud = Cloud(api, contexts, settings)
            await cloud.make_the_barrier()
            await controller.enter_async_context(cloud.controller())
            await cloud.connect(generation=V1_23)
            await register(cloud)
            await api.create(NODES, node("old"))
        waiting = await cloud.ask("query", LEASE)
        await eventually(
            lambda: asyncio.sleep(0, cloud.context.details.get("pending")),
            lambda pending: pending == 1,
        )
        monkeypatch.setattr(calls, "_PATIENCE", 0.3)
        for _ in range(2):
            answer = await cloud.call("patch", PATCH, '{"status": {"phase": "Running"}}')
            assert reason(answer) == (503, "ServiceUnavailable")
        old = await cloud.from_edge("query", "default/node/old", node="old")
        await eventually(
            lambda: asyncio.sleep(0, cloud.context.details.get("pending")),
            lambda pending: pending == 2,
        )
        monkeypatch.undo()
        async with running_server(data):
            answers = {}
            while answers.keys() != {waiting.id, old.id}:
                if (message := await cloud.next()).parent_id:
                    answers[message.parent_id] = message
            assert reason(answers[waiting.id]) == (404, "NotFound")
            assert answers[old.id].content["metadata"]["name"] == "old"
            answer = await cloud.call("patch", PATCH, '{"status": {"phase": "Running"}}')
            assert answer.content["Err"] is None
            await controller.aclose()
    for context in contexts.values():
        context.close()


async def test_in_a_long_outage_one_call_a_second_is_tried() -> None:
    """The others fail at once: what is tried finds out when the outage is over."""
    tried = []

    async def call(question: Message, _: ObjectResource) -> Any:
        tried.append(question.id)
        raise Unreachable("refused", request="get")

    health = ApiHealth()
    health.failed(REQUESTS, Unreachable("refused"))
    health._unserved_since -= 60
    made = calls.Calls(cast("Answers", None), health)
    question = Message.build("edged", "meta", "query", f"node/{NODE}/{LEASE}")
    for _ in range(10):
        with pytest.raises(calls.CallFailed):
            await made.answered(call)([question])
    assert len(tried) == 1
    made._probed -= calls._PROBE
    with pytest.raises(calls.CallFailed):
        await made.answered(call)([question])
    assert len(tried) == 2
    health.close()


async def test_a_watch_that_is_not_served_stops_no_calls() -> None:
    health = ApiHealth()
    health.failed("secrets", Unreachable("a proxy cuts it"))
    assert health.unserved_for == 0
    health.failed(REQUESTS, Unreachable("refused"))
    first = health.unserved_for
    health.failed(REQUESTS, Unreachable("refused again"))
    assert health.unserved_for >= first > 0
    health.served(REQUESTS)
    assert health.unserved_for == 0
    health.close()


async def test_a_call_that_the_api_server_does_not_answer_ends(
    today: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(*_: Any, **__: Any) -> Json:
        await asyncio.get_running_loop().create_future()
        raise AssertionError

    await register(today)
    monkeypatch.setattr(calls, "_PATIENCE", 0.1)
    monkeypatch.setattr(KubeClient, "patch", never)
    answer = await today.call("patch", PATCH, '{"status": {}}')
    assert reason(answer) == (503, "ServiceUnavailable")


async def test_leases_and_node_status_do_not_wait_behind_others(
    today: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All workers for pods and for queries are busy, with more behind them."""
    await register(today)
    uid = (await bound(today))["metadata"]["uid"]
    stuck, get, patch = asyncio.Event(), KubeClient.get, KubeClient.patch

    async def slow_get(client: KubeClient, resource: Any, *args: Any) -> Json:
        if resource.kind == "PersistentVolume":
            await stuck.wait()
        return await get(client, resource, *args)

    async def slow_patch(client: KubeClient, resource: Any, *args: Any, **options: Any) -> Json:
        if resource.kind == "Pod":
            await stuck.wait()
        return await patch(client, resource, *args, **options)

    monkeypatch.setattr(KubeClient, "get", slow_get)
    monkeypatch.setattr(KubeClient, "patch", slow_patch)
    for number in range(100):
        await today.ask("query", f"null/persistentvolume/v{number}")
        await today.ask("patch", "default/podpatch/p", pod_patch(uid, phase="Running"))
    assert reason(await today.call("query", LEASE)) == (404, "NotFound")
    answer = await today.call("patch", PATCH, '{"status": {"phase": "Running"}}')
    assert answer.content["Err"] is None
    stuck.set()
