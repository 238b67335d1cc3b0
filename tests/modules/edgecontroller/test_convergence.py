"""Whatever happens, in the end each edge has exactly what the API says it is to have."""

import asyncio
import random
from contextlib import AsyncExitStack
from typing import Any

import pytest

from ipc import Message
from modules.common import message_resource
from modules.common.kube import CONFIGMAPS, NODES, PODS, SECRETS, SERVICES, Resource
from modules.common.pod_references import references
from modules.common.sync import window
from modules.common.sync.journal import Item
from modules.common.wire.generations import V1_1, V1_23
from modules.edgecontroller.downstream import registrations

from .cloud import Cloud
from .objects import BARRIER, Json, configmap, node, pod

#: Each edge, and the namespace in which it asks about its Node; none: it is of v1.1.
EDGES = {"edge-1": "", "edge-2": "", "edge-3": "null", "edge-4": "default"}
NAMES = ("a", "b", "c")
STEPS = 60

#: The part of messages to edges of today, and of their acknowledgements, that gets lost.
LOST = 0.1

LISTS = {"servicelist": "service", "endpointslist": "endpoints"}


class Edge:
    """What a v1.1 edge stores: an insert only where there is nothing yet, an update always."""

    generation = V1_1

    def __init__(self, name: str) -> None:
        self.name = name
        self.connected = True
        self.objects: dict[Item, Json] = {}

    def apply(self, message: Message) -> None:
        about = message_resource.parse(message.resource)
        item = (about.type, about.namespace, about.name)
        if about.type in LISTS:
            for obj in message.content:
                metadata = obj["metadata"]
                key = (LISTS[about.type], metadata["namespace"], metadata["name"])
                self.objects[key] = obj
        elif message.operation == "insert":
            self.objects.setdefault(item, message.content)
        elif message.operation == "update":
            self.objects[item] = message.content
        elif message.operation == "delete":
            self.objects.pop(item, None)


class EdgeOfToday(Edge):
    """What an edge of today stores: all that it gets; it deletes the pod of one uid only."""

    generation = V1_23

    def __init__(self, name: str, namespace: str) -> None:
        super().__init__(name)
        self.namespace = namespace

    def apply(self, message: Message) -> None:
        about = message_resource.parse(message.resource)
        item = (about.type, about.namespace, about.name)
        if message.operation != "delete":
            self.objects[item] = message.content
        elif about.type != "pod" or self.uid(item) == message.content["metadata"]["uid"]:
            self.objects.pop(item, None)

    def uid(self, item: Item) -> str | None:
        obj = self.objects.get(item)
        return obj and obj["metadata"]["uid"]


class World:
    """Random changes, and the edges that are to follow them."""

    def __init__(self, cloud: Cloud, seed: int, record: str) -> None:
        self.cloud = cloud
        self.record = record
        self.random = random.Random(seed)
        self.edges: dict[str, Edge] = {
            name: EdgeOfToday(name, namespace) if namespace else Edge(name)
            for name, namespace in EDGES.items()
        }
        self.controller = AsyncExitStack()

    async def restart(self) -> None:
        await self.controller.aclose()
        await self.controller.enter_async_context(self.cloud.controller(record=self.record))

    async def step(self) -> None:
        kinds = [self.pod] * 6 + [self.configuration] * 4 + [self.service] * 2 + [self.node]
        edges = [self.connection, self.connection, self.restart_of_an_edge]
        await self.random.choice([*kinds, *edges, self.listen])()

    async def pod(self) -> None:
        name = self.random.choice(NAMES)
        spec = {
            "volumes": [{"name": "v", "configMap": {"name": self.random.choice(NAMES)}}],
            "imagePullSecrets": [{"name": self.random.choice(NAMES)}],
        }
        await self.change(PODS, pod(name, self.random.choice(list(EDGES)), spec=spec))

    async def configuration(self) -> None:
        resource = self.random.choice((CONFIGMAPS, SECRETS))
        obj = configmap(self.random.choice(NAMES))
        obj["data"] = {"k": "dg==" if self.random.random() < 0.5 else "dw=="}
        await self.change(resource, obj)

    async def service(self) -> None:
        metadata = {"name": self.random.choice(NAMES), "namespace": "default"}
        await self.change(SERVICES, {"metadata": metadata, "spec": {"ports": [{"port": 1}]}})

    async def change(self, resource: Resource, obj: Json) -> None:
        """Create it, or change or delete what is there."""
        name = obj["metadata"]["name"]
        page = await self.cloud.api.list(resource, "default")
        if name not in {item["metadata"]["name"] for item in page.items}:
            await self.cloud.api.create(resource, obj, "default")
        elif self.random.random() < 0.5:
            await self.cloud.api.delete(resource, name, "default", grace_period=0)
        else:
            labels = {"metadata": {"labels": {"l": str(self.random.random())}}}
            patch = {**labels, **({"data": obj["data"]} if "data" in obj else {})}
            await self.cloud.api.patch(resource, name, patch, "default")

    async def node(self) -> None:
        labels = {"metadata": {"labels": {"l": str(self.random.random())}}}
        await self.cloud.api.patch(NODES, self.random.choice(list(EDGES)), labels)

    async def connection(self) -> None:
        edge = self.edges[self.random.choice(list(EDGES))]
        await self.connect(edge, not edge.connected)

    async def connect(self, edge: Edge, connected: bool) -> None:
        edge.connected = connected
        await self.cloud.connect(edge.name, connected=connected, generation=edge.generation)

    async def restart_of_an_edge(self) -> None:
        """Restart an edge of today, with its database or without."""
        edge = self.edges[self.random.choice([name for name in EDGES if EDGES[name]])]
        assert isinstance(edge, EdgeOfToday)
        await self.connect(edge, False)
        if self.random.random() < 0.5:
            edge.objects.clear()
        await self.connect(edge, True)
        await self.register(edge)

    async def register(self, edge: EdgeOfToday) -> None:
        """Insert the Node, which exists, until it can be read (kubelet's tryRegister)."""
        inserts = 1
        if edge.namespace == "null" and ("node", "null", edge.name) not in edge.objects:
            inserts = 2
        for _ in range(inserts):
            resource = f"{edge.namespace}/node/{edge.name}"
            await self.cloud.ask("insert", resource, node(edge.name), node=edge.name)

    async def listen(self) -> None:
        await self.hear(await self.cloud.drain())

    async def hear(self, messages: list[Message]) -> None:
        for message in messages:
            edge = self.edges[message_resource.node_of(message.resource)]
            if not edge.connected or message.parent_id:
                continue  # what is for others is dropped by cloudhub; answers are not stored
            if edge.generation == V1_23 and self.random.random() < LOST:
                continue
            edge.apply(message)
            if edge.generation == V1_1 or self.random.random() > LOST:
                await self.cloud.acknowledge(message)

    async def desired(self, edge: str) -> dict[Item, Json]:
        """Compute from the API alone what an edge is to have."""
        found: dict[str, dict[Item, Json]] = {}
        kinds = {"pod": PODS, "configmap": CONFIGMAPS, "secret": SECRETS, "service": SERVICES}
        for type_, resource in kinds.items():
            page = await self.cloud.api.list(resource)
            found[type_] = {
                (type_, obj["metadata"]["namespace"], obj["metadata"]["name"]): obj
                for obj in page.items
            }
        pods = {k: p for k, p in found["pod"].items() if p["spec"].get("nodeName") == edge}
        needed = {item for p in pods.values() for item in references(p)}
        both = {**found["configmap"], **found["secret"]}
        wanted = {**pods, **{i: both[i] for i in needed & both.keys()}}
        if not EDGES[edge]:
            return {**wanted, **found["service"]}
        if EDGES[edge] == "null" and ("node", "null", edge) in self.edges[edge].objects:
            wanted["node", "null", edge] = await self.cloud.api.get(NODES, edge)
        return wanted

    async def differences(self) -> dict[str, Any]:
        """Return what edges have, and what they are to have, where that differs."""
        found = {}
        for name, edge in self.edges.items():
            has = essence(edge.objects, whole=edge.generation == V1_23)
            wanted = essence(await self.desired(name), whole=edge.generation == V1_23)
            if has != wanted:
                found[name] = has, wanted
        return found


def essence(objects: dict[Item, Json], *, whole: bool) -> dict[Item, Any]:
    """Reduce objects to what tells them apart, leaving out the test's own."""
    return {
        item: (
            obj["metadata"]["uid"],
            obj["metadata"].get("labels"),
            obj.get("data"),
            obj.get("spec") if whole else None,
        )
        for item, obj in objects.items()
        if item[0] in ("pod", "configmap", "secret", "service", "node") and item[2] != BARRIER
    }


@pytest.mark.parametrize("record", ["file", "objectsync"])
@pytest.mark.parametrize("seed", range(3))
async def test_every_edge_ends_with_the_desired_state(
    cloud: Cloud, seed: int, record: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(window, "RESEND", 0.5)
    monkeypatch.setattr(registrations, "HOLD", seed / 10)
    monkeypatch.setattr(registrations, "SETTLE", 0.2)
    world = World(cloud, seed, record)
    for name in EDGES:
        await cloud.api.create(NODES, node(name))
    async with world.controller:
        await world.restart()
        for edge in world.edges.values():
            await world.connect(edge, True)
        for _ in range(STEPS):
            await world.step()
            if world.random.random() < 0.07:
                await world.restart()
        for edge in world.edges.values():
            if not edge.connected:
                await world.connect(edge, True)
        async with asyncio.timeout(60):
            await world.listen()
            while found := await world.differences():
                assert all(EDGES[name] for name in found), found  # nothing to v1.1 gets lost
                await world.listen()
