"""What the controller loses when the API server, cloudhub or it itself is away: nothing."""

import asyncio
import shutil
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from ipc import Message, ModuleUnavailable, open_contexts
from modules.common.kube import NODES, PODS, KubeClient, syncing
from modules.common.pki.certificates import Pki
from modules.edgecontroller import EdgeController
from modules.edgecontroller.config import EdgeControllerConfig
from supervisor.api import KubernetesSettings, Settings
from tests.support.apiserver import running_server
from tests.support.pki import copy_pki
from tests.support.waiting import DEADLINE, eventually

from .cloud import Cloud
from .objects import NODE, Json, node, pod

pytestmark = pytest.mark.timeout(60)


def annotated(**annotations: str) -> Json:
    return {"metadata": {"annotations": annotations}}


async def nothing_is_waited_for(cloud: Cloud) -> None:
    details = cloud.context.details
    await eventually(
        lambda: asyncio.sleep(0, (details["waiting_for"], details["because"])),
        lambda found: found == (None, None),
    )


async def test_api_server_that_goes_and_comes_back(tmp_path: Path, pki: Pki) -> None:
    """It comes back on another port, which its kubeconfig tells."""
    data = tmp_path / "apiserver"
    copy_pki(pki, data)
    kubernetes = KubernetesSettings(kubeconfig=str(data / "kubeconfig"), qps=0)
    settings = Settings(tmp_path, tmp_path, kubernetes)
    contexts = open_contexts({"cloudhub": "cloudhub", "edgecontroller": "edgecontroller"})
    async with AsyncExitStack() as controller:
        async with running_server(data), KubeClient.connect(settings) as api:
            cloud = Cloud(api, contexts, settings)
            await cloud.make_the_barrier()
            await api.create(NODES, node())
            await controller.enter_async_context(cloud.controller())
            await cloud.connect()
            await cloud.drain()
        questions = [
            await cloud.from_edge("update", f"default/node/{NODE}", annotated(**{f"k{n}": "v"}))
            for n in range(20)
        ]
        await eventually(
            lambda: asyncio.sleep(0, cloud.context.details.get("pending")),
            lambda pending: pending == len(questions),
        )
        assert cloud.context.details["api_errors"]["unreachable"]
        async with running_server(data), KubeClient.connect(settings) as api:
            await api.create(PODS, pod("p"), "default")
            found = await eventually(
                lambda: api.get(NODES, NODE),
                lambda found: len(found["metadata"].get("annotations", {})) == len(questions),
            )
            assert found
            answered: set[str] = set()
            pods: list[str] = []
            while len(answered) < len(questions) or not pods:
                message = await cloud.next()
                if message.parent_id:
                    answered.add(message.parent_id)
                elif message.resource.endswith("pod/p"):
                    pods.append(message.operation)
            assert {question.id for question in questions} <= answered
            assert pods == ["insert"]
            await controller.aclose()
    for context in contexts.values():
        context.close()


async def test_api_server_that_is_away_at_the_start_is_waited_for(
    tmp_path: Path, pki: Pki, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As long as it takes: no restart of the controller would bring it."""
    monkeypatch.setattr(syncing, "PATIENCE", 0.0)
    data = tmp_path / "apiserver"
    copy_pki(pki, data)
    kubernetes = KubernetesSettings(kubeconfig=str(data / "kubeconfig"), qps=0)
    settings = Settings(tmp_path, tmp_path, kubernetes)
    async with running_server(data), KubeClient.connect(settings) as api:
        await api.create(NODES, node())
        await api.create(PODS, pod("p"), "default")
    contexts = open_contexts({"cloudhub": "cloudhub", "edgecontroller": "edgecontroller"})
    cloud = Cloud(api, contexts, settings)
    async with cloud.controller():
        details = cloud.context.details
        waiting_for = "configmaps, endpoints, nodes, pods, secrets, services"
        assert details["waiting_for"] == waiting_for
        assert details["because"].startswith("no answer from https://127.0.0.1")
        async with running_server(data):
            await cloud.connect()
            await cloud.until("insert", f"node/{NODE}/default/pod/p")
            await nothing_is_waited_for(cloud)
    for context in contexts.values():
        context.close()


async def test_what_was_not_written_is_handled_by_the_successor(cloud: Cloud) -> None:
    """The predecessor has taken the messages, and dies before it has written them."""
    await cloud.api.create(NODES, node())
    async with cloud.controller():
        await cloud.drain()
        for n in range(50):
            await cloud.from_edge("update", f"default/node/{NODE}", annotated(**{f"k{n}": "v"}))
    async with cloud.controller():
        await eventually(
            lambda: cloud.api.get(NODES, NODE),
            lambda found: len(found["metadata"].get("annotations", {})) == 50,
        )


async def test_connections_are_known_again_after_a_restart(cloud: Cloud) -> None:
    await cloud.api.create(NODES, node())
    async with cloud.controller():
        await cloud.from_edge("query", f"default/node/{NODE}")
        await eventually(
            lambda: asyncio.sleep(0, cloud.context.details.get("connected_nodes")),
            lambda connected: connected == 1,
        )


async def test_messages_of_one_object_are_written_in_order(running: Cloud) -> None:
    for n in range(100):
        await running.from_edge("update", f"default/node/{NODE}", annotated(last=str(n)))
    await eventually(
        lambda: running.api.get(NODES, NODE),
        lambda found: found["metadata"].get("annotations") == {"last": "99"},
    )
    await running.drain()
    assert (await running.api.get(NODES, NODE))["metadata"]["annotations"] == {"last": "99"}


async def test_every_status_is_answered_and_the_last_is_written(running: Cloud) -> None:
    """More than an edge sends within the minute for which it waits for the answer."""
    sent = [
        await running.from_edge(
            "update", f"default/nodestatus/{NODE}", {"Status": {"capacity": {"cpu": str(n)}}}
        )
        for n in range(1, 11)
    ]
    answered: list[str] = []
    while len(answered) < len(sent):
        answered.append((await running.next()).parent_id)
    assert answered == [message.id for message in sent]
    assert (await running.api.get(NODES, NODE))["status"]["capacity"] == {"cpu": "10"}


async def test_cloudhub_that_takes_nothing(running: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is due then is kept as what it is about: the newest state goes out, once."""
    send, blocked = running.context.send, asyncio.Event()

    async def refuse(module: str, message: Message, timeout: float | None = 30.0) -> None:
        blocked.set()
        raise ModuleUnavailable(f"{module} is stopped")

    monkeypatch.setattr(running.context, "send", refuse)
    await running.api.create(PODS, pod("p"), "default")
    async with asyncio.timeout(DEADLINE):
        await blocked.wait()
    await running.api.create(PODS, pod("q"), "default")
    for n in range(10):
        await running.api.patch(PODS, "q", {"metadata": {"labels": {"n": str(n)}}}, "default")
    await asyncio.sleep(0.3)
    monkeypatch.setattr(running.context, "send", send)
    received = [m for m in await running.drain() if m.resource.endswith("/q")]
    assert [m.operation for m in received] == ["insert"]
    assert received[0].content["metadata"]["labels"] == {"n": "9"}


async def test_stops_when_asked(cloud: Cloud) -> None:
    context = cloud.context
    task = asyncio.create_task(
        EdgeController(EdgeControllerConfig(), cloud.settings).start(context)
    )
    async with asyncio.timeout(DEADLINE):
        await context.is_ready.wait()
        cloud.edge.stop()
        await task


async def test_fault_ends_the_module(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail() -> None:
        raise RuntimeError("fault")

    monkeypatch.setattr(cloud.context, "take", fail)
    with pytest.raises(ExceptionGroup) as caught:
        await EdgeController(EdgeControllerConfig(), cloud.settings).start(cloud.context)
    assert caught.group_contains(RuntimeError)


async def test_unusable_kubeconfig_is_waited_for(
    cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As an API server that is away: it is read again, and no restart is needed."""
    monkeypatch.setattr(syncing, "PATIENCE", 0.0)
    good = Path(cloud.settings.kubernetes.kubeconfig)
    path = tmp_path / "config"
    cloud.settings = Settings(tmp_path, tmp_path, KubernetesSettings(kubeconfig=str(path), qps=0))
    await cloud.api.create(NODES, node())
    await cloud.api.create(PODS, pod("p"), "default")
    async with cloud.controller():
        because = cloud.context.details["because"]
        assert because.startswith(f"cannot use the kubeconfig {path}: the file is not found")
        shutil.copy(good, path)
        await cloud.connect()
        await cloud.until("insert", f"node/{NODE}/default/pod/p")
        await nothing_is_waited_for(cloud)
