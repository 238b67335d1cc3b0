"""What a test does to a running edge controller: to the API, and as cloudhub."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from ipc import AsyncContext, Message, open_contexts
from modules.common import message_resource
from modules.common.kube import CONFIGMAPS, ENDPOINTS, NODES, PODS, SECRETS, SERVICES, KubeClient
from modules.common.wire.generations import tell
from modules.edgecontroller import EdgeController
from modules.edgecontroller.config import EdgeControllerConfig
from supervisor.api import KubernetesSettings, Settings
from tests.modules.edgecontroller.objects import BARRIER, NODE, Json, node, pod, using
from tests.support.apiserver import Embedded
from tests.support.waiting import DEADLINE

_BARRIER_TYPES = ("pod", "configmap", "secret", "service", "endpoints")


class ModuleContext:
    """The supervisor's part of a module's context, over a real channel."""

    def __init__(self, context: AsyncContext) -> None:
        self.send = context.send
        self.send_resp = context.send_resp
        self.send_sync = context.send_sync
        self.send_to_group = context.send_to_group
        self.send_to_group_sync = context.send_to_group_sync
        self.take = context.take
        self.stopped = context.stopped
        self.is_ready = asyncio.Event()
        self.details: Json = {}

    def ready(self) -> None:
        self.is_ready.set()

    def report(self, **details: Any) -> None:
        self.details.update(details)


class Cloud:
    """What a test does: to the API with `api`, as cloudhub with the rest."""

    def __init__(
        self, api: KubeClient, contexts: dict[str, AsyncContext], settings: Settings
    ) -> None:
        self.api = api
        self.hub = contexts["cloudhub"]
        self.settings = settings
        self.edge = contexts["edgecontroller"]
        self._mark = 0
        self._answered = 0
        self.absent: set[str] = set()
        """nodes of which cloudhub says that they are not connected, when it is asked"""
        self.unknown = {BARRIER}
        """nodes of which it says nothing"""
        self.acknowledging = False
        """whether NODE answers all that it is told, as an edge does"""
        self.context = ModuleContext(self.edge)

    @asynccontextmanager
    async def controller(self, **config: Any) -> AsyncIterator[None]:
        """Run the controller; leaving is like its death: nothing is put in order."""
        self.context = ModuleContext(self.edge)
        module = EdgeController(EdgeControllerConfig(**config), self.settings)
        task = asyncio.create_task(module.start(self.context))
        ready = asyncio.create_task(self.context.is_ready.wait())
        try:
            async with asyncio.timeout(DEADLINE):
                await asyncio.wait((task, ready), return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                task.result()
            yield
            assert not task.done(), task.exception()
        finally:
            ready.cancel()
            task.cancel()
            await asyncio.wait((task, ready))

    async def next(self) -> Message:
        """Receive what the controller sends next, the barrier's part aside."""
        while True:
            message = await self._receive()
            if BARRIER not in message.resource.split("/"):
                return message

    async def _receive(self) -> Message:
        """Receive a message that is for an edge; questions about nodes are answered."""
        while True:
            message = await self.hub.receive(timeout=DEADLINE)
            if message.operation == "request_exist":
                await self.tell_presence(message)
                continue
            is_for_node = message_resource.node_of(message.resource) == NODE
            if self.acknowledging and is_for_node and not message.parent_id:
                await self.acknowledge(message)
            return message

    async def asked_about(self, node: str = NODE) -> None:
        """Receive and answer questions until that about one node has been answered."""
        while True:
            question = await self.hub.receive(timeout=DEADLINE)
            assert question.operation == "request_exist", question
            await self.tell_presence(question)
            if message_resource.node_of(question.resource) == node:
                return

    async def tell_presence(self, question: Message) -> None:
        """Say whether a node is connected, as cloudhub does."""
        self._answered += 1
        node = message_resource.node_of(question.resource)
        if node in self.absent:
            await self.hub.send_resp(question.error("not connected"))
        elif node not in self.unknown:
            answer = question.response()
            answer.operation = "response_exist"
            await self.hub.send_resp(answer)

    async def until(self, operation: str, resource: str) -> Message:
        """Receive until one message has come; whatever comes before it is passed over."""
        while True:
            message = await self.next()
            if (message.operation, message.resource) == (operation, resource):
                return message

    async def answer_to(self, question: Message) -> Message:
        """Receive until the answer to a message has come."""
        while (message := await self.next()).parent_id != question.id:
            pass
        return message

    async def drain(self) -> list[Message]:
        """Receive all that the controller has to say about what has happened so far.

        It watches each kind by itself, so a change of each kind is made, on a node that is for
        this alone, and awaited; the messages for that node are not returned. A question about a
        node that is answered meanwhile may lead to more messages: then all is done once more.
        """
        drained = []
        answered = -1
        while answered != self._answered:
            answered = self._answered
            drained += await self._drain_once()
        return drained

    async def _drain_once(self) -> list[Message]:
        question = await self.from_edge("query", f"default/node/{BARRIER}", node="asker")
        self._mark += 1
        await self._change_the_barrier()
        awaited = {f"{type_}/barrier" for type_ in _BARRIER_TYPES} | {"endpoints", question.id}
        drained = []
        while awaited:
            message = await self._receive()
            if BARRIER not in message.resource.split("/"):
                drained.append(message)
            elif message.parent_id:
                awaited.discard(message.parent_id)
            elif not message.resource.startswith(f"node/{BARRIER}/"):
                continue  # services go to every node
            elif message.resource.endswith("endpointslist/endpoints"):
                awaited.discard("endpoints")
            elif _mark_of(message) == str(self._mark):
                awaited.discard("/".join(message.resource.split("/")[-2:]))
        return drained

    async def make_the_barrier(self) -> None:
        await self.api.create(NODES, node(BARRIER))
        metadata = {"name": "barrier", "namespace": "default"}
        spec = {**using("barrier"), "imagePullSecrets": [{"name": "barrier"}]}
        await self.api.create(PODS, pod("barrier", BARRIER, spec=spec), "default")
        await self.api.create(CONFIGMAPS, {"metadata": metadata}, "default")
        await self.api.create(SECRETS, {"metadata": metadata}, "default")
        service = {"metadata": metadata, "spec": {"ports": [{"port": 1}]}}
        await self.api.create(SERVICES, service, "default")
        await self.api.create(ENDPOINTS, {"metadata": metadata}, "default")

    async def _change_the_barrier(self) -> None:
        patch = {"metadata": {"labels": {"mark": str(self._mark)}}}
        for resource in (PODS, CONFIGMAPS, SECRETS, SERVICES, ENDPOINTS):
            await self.api.patch(resource, "barrier", patch, "default")
        for status in ("False", "True"):
            ready = {"status": {"conditions": [{"type": "Ready", "status": status}]}}
            await self.api.patch(NODES, BARRIER, ready, subresource="status")

    async def from_edge(
        self, operation: str, resource: str, content: Any = None, *, node: str = NODE
    ) -> Message:
        """Pass a message on as cloudhub does with what an edge sends: content is bytes."""
        data = content if content is None else msgspec.json.encode(content)
        message = Message.build(
            "edged", "meta", operation, message_resource.cloud_resource(node, resource), data
        )
        await self.hub.send("edgecontroller", message)
        return message

    async def ask(
        self, operation: str, resource: str, content: Any = None, *, node: str = NODE
    ) -> Message:
        """Pass a message of a JSON edge on, as cloudhub does: a string is none of JSON."""
        if isinstance(content, str):
            resource = message_resource.cloud_resource(node, resource)
            message = Message.build("edged", "meta", operation, resource, content)
            await self.hub.send("edgecontroller", message)
            return message
        return await self.from_edge(operation, resource, content, node=node)

    async def call(
        self, operation: str, resource: str, content: Any = None, *, node: str = NODE
    ) -> Message:
        """Pass a question of a JSON edge on, and return its answer."""
        return await self.answer_to(await self.ask(operation, resource, content, node=node))

    async def refer_to(self, name: str, node: str = NODE) -> None:
        """Bind a pod to a node that refers to objects of a name, and wait until that is known."""
        sources = {
            "configMap": {"name": name},
            "secret": {"secretName": name},
            "persistentVolumeClaim": {"claimName": name},
        }
        volumes = [{"name": kind.lower(), kind: source} for kind, source in sources.items()]
        referring = pod(f"refers-to-{name}", node, spec={"volumes": volumes})
        await self.api.create(PODS, referring, "default")
        await self.drain()

    async def connect(
        self, node: str = NODE, *, connected: bool = True, generation: str = ""
    ) -> None:
        """Say that a node has connected, or disconnected."""
        operation = "connected" if connected else "disconnected"
        content = {"event_type": operation, "timestamp": 1, "client_id": node, **tell(generation)}
        message = Message.build("cloudhub", "resource", operation, f"node/{node}", content)
        await self.hub.send("edgecontroller", message)

    async def acknowledge(self, message: Message) -> None:
        """Answer as an edge's metaManager does to whatever it is told."""
        await self._answer(message, message.source, "response", b"OK")

    async def refuse(self, message: Message) -> None:
        """Answer as an edge's metaManager does when it could not store what it was told."""
        text = b"Error to update meta to DB: sql: transaction has already been committed"
        await self._answer(message, "metaManager", "error", text)

    async def _answer(self, message: Message, source: str, operation: str, text: bytes) -> None:
        answer = Message.build(
            source, message.group, operation, message.resource, text, parent_id=message.id
        )
        await self.hub.send("edgecontroller", answer)


def _mark_of(message: Message) -> str | None:
    content = message.content
    return content["metadata"].get("labels", {}).get("mark") if isinstance(content, dict) else None


@asynccontextmanager
async def open_cloud(server: Embedded, directory: Path) -> AsyncIterator[Cloud]:
    """Open the channels and a client of the server, in which the barrier is."""
    kubernetes = KubernetesSettings(kubeconfig=str(server.kubeconfig), qps=0)
    settings = Settings(directory / "data", directory / "run", kubernetes)
    contexts = open_contexts({"cloudhub": "cloudhub", "edgecontroller": "edgecontroller"})
    async with KubeClient.connect(settings) as api:
        cloud = Cloud(api, contexts, settings)
        await cloud.make_the_barrier()
        yield cloud
    for context in contexts.values():
        context.close()
