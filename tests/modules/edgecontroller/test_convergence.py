"""Whatever happens, in the end each edge has exactly what the API says it is to have."""

import random
from contextlib import AsyncExitStack
from typing import Any

import pytest

from ipc import Message
from modules.common import message_resource
from modules.common.kube import CONFIGMAPS, NODES, PODS, SECRETS, SERVICES, Resource
from modules.common.sync.journal import Item
from modules.edgecontroller.downstream.references import references

from .conftest import BARRIER, Cloud, Json, configmap, node, pod

EDGES = ("edge-1", "edge-2")
NAMES = ("a", "b", "c")
STEPS = 60

LISTS = {"servicelist": "service", "endpointslist": "endpoints"}


class Edge:
    """What a v1.1 edge stores: an insert only where there is nothing yet, an update always."""

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


class World:
    """Random changes, and the edges that are to follow them."""

    def __init__(self, cloud: Cloud, seed: int) -> None:
        self.cloud = cloud
        self.random = random.Random(seed)
        self.edges = {name: Edge(name) for name in EDGES}
        self.controller = AsyncExitStack()

    async def restart(self) -> None:
        await self.controller.aclose()
        await self.controller.enter_async_context(self.cloud.controller())

    async def step(self) -> None:
        kinds = [self.pod] * 6 + [self.configuration] * 4 + [self.service] * 2
        await self.random.choice([*kinds, self.connection, self.connection, self.listen])()

    async def pod(self) -> None:
        name = self.random.choice(NAMES)
        spec = {
            "volumes": [{"name": "v", "configMap": {"name": self.random.choice(NAMES)}}],
            "imagePullSecrets": [{"name": self.random.choice(NAMES)}],
        }
        await self.change(PODS, pod(name, self.random.choice(EDGES), spec=spec))

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

    async def connection(self) -> None:
        edge = self.edges[self.random.choice(EDGES)]
        edge.connected = not edge.connected
        await self.cloud.connect(edge.name, connected=edge.connected)

    async def listen(self) -> None:
        await self.hear(await self.cloud.drain())

    async def hear(self, messages: list[Message]) -> None:
        for message in messages:
            edge = self.edges[message_resource.node_of(message.resource)]
            if edge.connected:  # what is for others is dropped by cloudhub
                edge.apply(message)
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
        return {**pods, **{i: both[i] for i in needed & both.keys()}, **found["service"]}


def essence(objects: dict[Item, Json]) -> dict[Item, Any]:
    """Reduce objects to what tells them apart, leaving out the test's own."""
    return {
        item: (obj["metadata"]["uid"], obj["metadata"].get("labels"), obj.get("data"))
        for item, obj in objects.items()
        if item[0] in ("pod", "configmap", "secret", "service") and item[2] != BARRIER
    }


@pytest.mark.parametrize("seed", range(4))
async def test_every_edge_ends_with_the_desired_state(cloud: Cloud, seed: int) -> None:
    world = World(cloud, seed)
    for name in EDGES:
        await cloud.api.create(NODES, node(name))
    async with world.controller:
        await world.restart()
        for _ in range(STEPS):
            await world.step()
            if world.random.random() < 0.07:
                await world.restart()
        for edge in world.edges.values():
            if not edge.connected:
                edge.connected = True
                await cloud.connect(edge.name)
        await world.listen()
        for name, edge in world.edges.items():
            assert essence(edge.objects) == essence(await world.desired(name)), name
