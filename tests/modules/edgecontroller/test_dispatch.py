"""Dispatching and writing, with the API's side played by the test."""

import asyncio
from pathlib import Path
from typing import Any, cast

import pytest

from ipc import Message
from modules.common.kube import (
    Conflict,
    EventRecorder,
    Forbidden,
    Invalid,
    KubeClient,
    NotFound,
    SetAside,
)
from modules.common.kube.health import ApiHealth
from modules.common.log_limit import LINES
from modules.common.sync.record import Record
from modules.edgecontroller.cloudhub_client import CloudHubClient
from modules.edgecontroller.config import EdgeControllerConfig
from modules.edgecontroller.downstream.node_updates import NodeUpdater
from modules.edgecontroller.downstream.nodes import NodeEventHandler
from modules.edgecontroller.downstream.state import State
from modules.edgecontroller.messages import POD
from modules.edgecontroller.upstream.answers import Answers
from modules.edgecontroller.upstream.authorization import Rights
from modules.edgecontroller.upstream.calls import Calls
from modules.edgecontroller.upstream.certificates import CertificateRequester
from modules.edgecontroller.upstream.content import PodStatusRequest
from modules.edgecontroller.upstream.dispatch import Upstream
from modules.edgecontroller.upstream.events import EventWriter
from modules.edgecontroller.upstream.leases import LeaseKeeper
from modules.edgecontroller.upstream.nodes import NodeWriter
from modules.edgecontroller.upstream.pods import PodWriter
from modules.edgecontroller.upstream.queries import QueryAnswerer
from modules.edgecontroller.upstream.report_patches import ReportPatcher
from modules.edgecontroller.upstream.rows import Handlers, rows
from modules.edgecontroller.upstream.tokens import TokenIssuer
from supervisor.api import ModuleContext
from tests.support.waiting import DEADLINE

from .objects import NODE, Json, pod

ANNOTATIONS = {"metadata": {"annotations": {"a": "b"}}}


class Channel:
    def __init__(self) -> None:
        self.sent: list[Message] = []

    async def send(self, module: str, message: Message, timeout: float | None = None) -> None:
        self.sent.append(message)

    async def send_resp(self, message: Message, timeout: float | None = None) -> None:
        raise AssertionError

    async def send_sync(
        self, module: str, message: Message, timeout: float | None = None
    ) -> Message:
        raise AssertionError


class Api:
    """Patches take as long as the test likes; deletes end as it says."""

    def __init__(self) -> None:
        self.patched: list[str] = []
        self.patches: list[Json] = []
        self.found: Json = {}
        self.deleted: list[tuple[str, dict[str, Any]]] = []
        self.patch_answer: Any = pod("p", uid="uid-p")
        self.delete_error: Exception | None = None
        self.open = asyncio.Event()
        self.health = ApiHealth()

    async def patch(self, _: object, name: str, patch: Json, *args: Any, **options: Any) -> Json:
        self.patched.append(name)
        self.patches.append(patch)
        await self.open.wait()
        answer = self.patch_answer
        if isinstance(answer, list):
            answer = answer.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def get(self, *_: Any) -> Json:
        return self.found

    async def delete(self, _: object, name: str, namespace: str, **options: Any) -> None:
        self.deleted.append((name, options))
        if self.delete_error:
            raise self.delete_error


class Taken:
    def __init__(self, resource: str, content: Any = None) -> None:
        self.message = Message.build("edged", "meta", "update", resource, content)
        self.is_done = False

    def done(self) -> None:
        self.is_done = True


class Bench:
    def __init__(self, directory: Path, max_pending: int = 100) -> None:
        self.api, self.channel = Api(), Channel()
        client, sender = cast("KubeClient", self.api), CloudHubClient(self.channel)
        self.state = State(Record(directory / "told.jsonl"))
        recorder = EventRecorder(client, "test")
        aside = SetAside(recorder, "test")
        updater = NodeUpdater(self.state, sender, aside)
        rights, answers = Rights(self.state, client), Answers(sender, self.state.generations)
        reports = ReportPatcher(client)
        self.pods = PodWriter(client, reports, sender, self.state, rights)
        config = EdgeControllerConfig(max_pending=max_pending)
        nodes = NodeEventHandler(
            self.state,
            updater,
            sender,
            cast("ModuleContext", self.channel),
            aside,
        )
        handlers = Handlers(
            Calls(answers, self.api.health),
            NodeWriter(
                client,
                reports,
                answers,
                self.state,
                update_frequency=20,
                registered=nodes.registrations.registered,
            ),
            self.pods,
            LeaseKeeper(client),
            TokenIssuer(client, rights),
            CertificateRequester(client),
            EventWriter(client, rights),
            QueryAnswerer(client, rights, self.state, updater),
        )
        self.reported: list[str] = []
        """nodes that have shown that they are alive"""
        self.upstream = Upstream(
            rows(handlers),
            answers,
            nodes,
            updater,
            aside,
            health=self.api.health,
            config=config,
            on_report=self.reported.append,
        )

    def add_pod(self, name: str) -> None:
        self.state.stores[POD]["default", name] = pod(name, uid=f"uid-{name}")


@pytest.fixture
def bench(tmp_path: Path) -> Any:
    made = Bench(tmp_path)
    yield made
    made.state.record.close()


async def settle() -> None:
    for _ in range(30):
        await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("operation", "resource", "reports"),
    [
        ("update", f"default/nodestatus/{NODE}", True),
        ("patch", f"null/nodepatch/{NODE}", True),
        ("update", f"kube-node-lease/lease/{NODE}", True),
        ("patch", "default/podpatch/p", False),
        ("query", "default/configmap/c", False),
    ],
)
def test_what_shows_that_a_node_is_alive(
    bench: Bench, operation: str, resource: str, *, reports: bool
) -> None:
    """A kubelet of today renews its lease, and writes a status that is unchanged each 5 min."""
    taken = Taken(f"node/{NODE}/{resource}")
    taken.message.operation = operation
    bench.upstream.dispatch(taken)
    assert bench.reported == [NODE] * reports


async def test_list_of_statuses_is_done_when_all_are_written(bench: Bench) -> None:
    for name in ("a", "b"):
        bench.add_pod(name)
    statuses = [{"Name": name, "Status": {}} for name in ("a", "b")]
    taken = Taken(f"node/{NODE}/default/podstatus", statuses)
    inbox: asyncio.Queue[Taken] = asyncio.Queue()
    inbox.put_nowait(taken)
    running = asyncio.create_task(bench.upstream.run(inbox.get))
    await settle()
    assert sorted(bench.api.patched) == ["a", "b"]
    assert (taken.is_done, bench.upstream.pending) == (False, 1)
    bench.api.open.set()
    await settle()
    assert (taken.is_done, bench.upstream.pending) == (True, 0)
    running.cancel()
    await asyncio.wait([running])


async def test_a_status_of_no_pod_keeps_none_of_the_others_back(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("a", "b"):
        bench.add_pod(name)
    names = ("a", "not/a/pod", "b")
    taken = Taken(f"node/{NODE}/default/podstatus", [{"Name": n, "Status": {}} for n in names])
    bench.api.open.set()
    inbox: asyncio.Queue[Taken] = asyncio.Queue()
    inbox.put_nowait(taken)
    running = asyncio.create_task(bench.upstream.run(inbox.get))
    await settle()
    assert sorted(bench.api.patched) == ["a", "b"]
    assert "podstatus': name 'not/a/pod' of resource 'node/edge-node-1/" in caplog.text
    assert (taken.is_done, bench.upstream.pending) == (True, 0)
    running.cancel()
    await asyncio.wait([running])


async def test_takes_no_more_than_may_be_pending(tmp_path: Path) -> None:
    bench = Bench(tmp_path, max_pending=3)
    inbox: asyncio.Queue[Taken] = asyncio.Queue()
    for n in range(10):
        content = {"metadata": {"annotations": {"n": str(n)}}}
        inbox.put_nowait(Taken(f"node/n{n}/default/node/n{n}", content))
    running = asyncio.create_task(bench.upstream.run(inbox.get))
    await settle()
    assert (inbox.qsize(), bench.upstream.pending) == (7, 3)
    bench.api.open.set()
    while bench.upstream.handled < 10:
        await asyncio.sleep(0)
    assert len(bench.api.patched) == 10
    running.cancel()
    await asyncio.wait([running])
    bench.state.record.close()


def status_of(name: str, uid: str) -> list[Message]:
    request = PodStatusRequest(name, {"phase": "Succeeded"}, uid)
    resource = f"node/{NODE}/default/pod/{name}"
    return [Message.build("edged", "meta", "update", resource, request)]


@pytest.mark.parametrize(
    "error",
    [None, NotFound(404, "NotFound", "gone"), Conflict(409, "Conflict", "another uid")],
)
async def test_only_the_very_pod_is_deleted(bench: Bench, error: Exception | None) -> None:
    """One that has been created under its name since is left alone."""
    bench.add_pod("p")
    deleting = pod("p", uid="uid-p", deletionTimestamp="2026-01-02T03:04:05Z")
    bench.api.patch_answer = {**deleting, "status": {"phase": "Succeeded"}}
    bench.api.delete_error = error
    bench.api.open.set()
    await bench.pods.write_status(status_of("p", "uid-p"))
    assert bench.api.deleted == [("p", {"grace_period": 0, "uid": "uid-p"})]


async def test_pod_that_goes_while_its_status_is_written(bench: Bench) -> None:
    bench.add_pod("p")
    bench.api.patch_answer = NotFound(404, "NotFound", "gone")
    bench.api.open.set()
    await bench.pods.write_status(status_of("p", "uid-p"))
    [message] = bench.channel.sent
    assert (message.operation, message.resource) == ("delete", f"node/{NODE}/default/pod/p")


async def test_a_status_is_not_for_another_pod_of_that_name(bench: Bench) -> None:
    """It may be another node's: it was created there while this one's status was written."""
    bench.add_pod("p")
    bench.api.patch_answer = Conflict(409, "Conflict", "Precondition failed: UID")
    bench.api.found = pod("p", "another-node", uid="uid-of-another")
    bench.api.open.set()
    await bench.pods.write_status(status_of("p", "uid-p"))
    [patch] = bench.api.patches
    assert patch["metadata"] == {"uid": "uid-p"}
    [message] = bench.channel.sent
    assert (message.operation, message.resource) == ("delete", f"node/{NODE}/default/pod/p")


async def test_a_pod_that_comes_while_the_status_of_the_former_one_is_written_is_not_deleted(
    bench: Bench,
) -> None:
    """A StatefulSet's: its node has been sent it when the answer about the former one comes."""
    bench.add_pod("p")
    bench.api.patch_answer = Conflict(409, "Conflict", "Precondition failed: UID")
    writing = asyncio.create_task(bench.pods.write_status(status_of("p", "uid-p")))
    await settle()
    comes = bench.state.stores[POD]["default", "p"] = pod("p", uid="uid-of-the-next")
    bench.api.found = comes
    bench.api.open.set()
    await writing
    assert not bench.channel.sent


async def test_a_pod_that_comes_while_the_api_is_asked_for_the_former_one_is_not_deleted(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def gone(*_: Any) -> Json:
        bench.add_pod("p")  # the watch shows it before the answer from before it comes
        raise NotFound(404, "NotFound", "gone")

    monkeypatch.setattr(bench.api, "get", gone)
    await bench.pods.write_status(status_of("p", "uid-of-the-former"))
    assert not bench.channel.sent


async def test_statuses_of_pods_that_are_gone_do_not_fill_the_log(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def gone(*_: Any) -> Json:
        raise NotFound(404, "NotFound", "gone")

    monkeypatch.setattr(bench.api, "get", gone)
    caplog.set_level("INFO")
    for n in range(2 * LINES):
        await bench.pods.write_status(status_of(f"p{n}", f"uid-p{n}"))
    assert len(bench.channel.sent) == 2 * LINES
    assert len(caplog.messages) == LINES


async def test_a_pod_that_changes_meanwhile_gets_its_status(bench: Bench) -> None:
    bench.add_pod("p")
    bench.api.patch_answer = [Conflict(409, "Conflict", "it has changed"), pod("p")]
    bench.api.found = pod("p", uid="uid-p")
    bench.api.open.set()
    await bench.pods.write_status(status_of("p", "uid-p"))
    assert bench.api.patched == ["p", "p"]
    assert not bench.channel.sent


async def test_a_status_of_another_node_takes_the_place_of_none(bench: Bench) -> None:
    """A status replaces those of its node that wait: not what the node itself says."""
    status = {"Status": {"phase": "Running"}}
    inbox: asyncio.Queue[Taken] = asyncio.Queue()
    for sender in ("edge-b", "edge-a"):
        inbox.put_nowait(Taken(f"node/{sender}/default/nodestatus/edge-b", status))
    running = asyncio.create_task(bench.upstream.run(inbox.get))
    await settle()
    bench.api.open.set()
    async with asyncio.timeout(DEADLINE):
        while len(bench.channel.sent) < 2:
            await asyncio.sleep(0)
    assert bench.api.patched == ["edge-b"]
    answers = [(message.resource, message.operation) for message in bench.channel.sent]
    assert sorted(answers) == [
        ("node/edge-a/default/nodestatus/edge-b", "error"),
        ("node/edge-b/default/node/edge-b", "response"),
    ]
    running.cancel()
    await asyncio.wait([running])


async def test_what_every_edge_repeats_is_logged_once(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """A missing right, for all of them; anything else, for each object."""
    bench.api.open.set()
    inbox: asyncio.Queue[Taken] = asyncio.Queue()
    running = asyncio.create_task(bench.upstream.run(inbox.get))

    async def report(*names: str) -> list[str]:
        caplog.clear()
        for name in names:
            inbox.put_nowait(Taken(f"node/{name}/default/node/{name}", ANNOTATIONS))
            await settle()
        return caplog.messages

    bench.api.patch_answer = Forbidden(403, "Forbidden", "no rights")
    (line,) = await report("a", "b", "a", "b")
    assert line == (
        "node/a/default/node/a: 403 Forbidden: no rights; grant the rights of "
        "deploy/rbac/cloudcore.yaml"
    )
    bench.api.patch_answer = Invalid(422, "Invalid", "no")
    assert len(await report("a", "b", "a", "b")) == 2
    bench.api.patch_answer = pod("a")
    assert not await report("a", "b")
    bench.api.patch_answer = Forbidden(403, "Forbidden", "no rights")
    assert len(await report("a", "b")) == 1
    running.cancel()
    await asyncio.wait([running])
