"""Calls of real edges, recorded with Go's cloudcore 1.23.1, and our answers beside Go's.

Each file has one question of each kind, with its answer, if there was one. Managed fields and
images of nodes are left out.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ipc import Message
from modules.common.kube import CONFIGMAPS, EVENTS, LEASES, PODS, SECRETS
from modules.common.wire.generations import V1_23
from tests.support.waiting import eventually

from .cloud import Cloud
from .objects import Json
from .today import with_token

CAPTURES = Path(__file__).parents[2] / "data" / "captures"
LEASE_NAMESPACE = "kube-node-lease"

#: Go's cloud has answered the question about a Node with an error in place of the Node, so the edge
#: has made a lease without the uid of its Node.
CONSEQUENCES = {"Invalid"}


def recorded(version: str) -> list[tuple[Json, Json | None]]:
    lines = (CAPTURES / f"{version}-calls.jsonl").read_text().splitlines()
    pairs = [json.loads(line) for line in lines]
    return [(pair["question"], pair["answer"]) for pair in pairs]


def error_of(answer: Json) -> Json | None:
    """Return the Status in an answer of Go's."""
    content = answer["content"]
    if not isinstance(content, dict):
        return None
    found: Json | None = (content.get("Err") or content).get("ErrStatus")
    return found


class Edge:
    """Asks again what an edge has asked, about the objects of this API server."""

    def __init__(self, cloud: Cloud, name: str) -> None:
        self._cloud = cloud
        self.name = name
        self._uids: dict[str, str] = {}

    async def prepare(self, question: Json) -> None:
        """Create what there was when a question was asked."""
        _, kind, name = question["route"]["resource"].split("/")
        operation, content = question["route"]["operation"], question["content"]
        if (kind, operation) == ("podpatch", "patch"):
            volumes = [
                {"name": "cm", "configMap": {"name": "cm1"}},
                {"name": "s", "secret": {"secretName": "s1"}},
                {"name": "ca", "configMap": {"name": "kube-root-ca.crt"}},
                *with_token("")["volumes"],
            ]
            spec = {
                "nodeName": self.name,
                "serviceAccountName": "default",
                "containers": [{"name": "c", "image": "app"}],
                "volumes": volumes,
            }
            pod = {"metadata": {"name": name}, "spec": spec}
            created = await self._cloud.api.create(PODS, pod, "default")
            uid = json.loads(content)["metadata"]["uid"]
            self._uids[uid] = created["metadata"]["uid"]
            await self._cloud.api.create(CONFIGMAPS, {"metadata": {"name": "cm1"}}, "default")
            await self._cloud.api.create(SECRETS, {"metadata": {"name": "s1"}}, "default")
            await self._cloud.drain()
        elif (kind, operation) == ("event", "patch"):
            await self._cloud.api.create(EVENTS, content["event"] | {"count": 1}, "default")
        elif (kind, operation) == ("lease", "update"):
            present = await self._cloud.api.get(LEASES, name, LEASE_NAMESPACE)
            content["metadata"] |= {
                key: present["metadata"][key] for key in ("uid", "resourceVersion")
            }

    async def ask(self, question: Json) -> Message:
        route, content = question["route"], question["content"]
        text = json.dumps(content)
        for theirs, ours in self._uids.items():
            text = text.replace(theirs, ours)
        return await self._cloud.ask(
            route["operation"], route["resource"], json.loads(text), node=self.name
        )


def compare(ours: Message, theirs: Json, node: str) -> None:
    route, content, expected = theirs["route"], ours.content, theirs["content"]
    assert (ours.source, ours.group) == (route["source"], route["group"])
    assert ours.resource == f"node/{node}/{route['resource']}"
    error = error_of(theirs)
    if error and "Err" not in expected:
        # Go's edges store that as the object.
        assert (ours.operation, type(content)) == ("error", str)
        return
    assert ours.operation == route["operation"]
    assert bool(ours.resource_version) == ("resourceversion" in theirs["header"])
    if isinstance(expected, str):
        assert content == expected
    elif "Err" in expected:
        assert content.keys() == expected.keys()
        if error:
            status = content["Err"]["ErrStatus"]
            assert {key: status[key] for key in ("metadata", "status", "reason", "code")} == {
                key: error[key] for key in ("metadata", "status", "reason", "code")
            }
        else:
            assert content["Err"] is None
            compare_objects(content["Object"], expected["Object"])
    else:
        compare_objects(content, expected)


def compare_objects(ours: Json, theirs: Json) -> None:
    assert ours.keys() >= theirs.keys() - {"data", "type"}
    names = ("name", "namespace")
    assert [ours["metadata"].get(key) for key in names] == [
        theirs["metadata"].get(key) for key in names
    ]
    if "kind" in theirs:
        assert (ours["kind"], ours["apiVersion"]) == (theirs["kind"], theirs["apiVersion"])


@pytest.mark.parametrize(("version", "name"), [("v1.20", "edge120"), ("v1.23", "edge123")])
async def test_real_edges_are_answered_as_by_go(
    cloud: Cloud, issued: list[Any], version: str, name: str
) -> None:
    pairs = recorded(version)
    lease = {"metadata": {"name": name}, "spec": {"holderIdentity": name}}
    if pairs[1][0]["route"]["resource"].startswith(LEASE_NAMESPACE):  # it has had a lease before
        await cloud.api.create(LEASES, lease, LEASE_NAMESPACE)
    async with cloud.controller():
        await cloud.connect(name, generation=V1_23)
        await cloud.drain()
        edge = Edge(cloud, name)
        answered = set()
        for question, answer in pairs:
            if answer and (error := error_of(answer)) and error["reason"] in CONSEQUENCES:
                continue
            await edge.prepare(question)
            asked = await edge.ask(question)
            if answer:
                compare(await cloud.answer_to(asked), answer, name)
            else:
                event = question["route"]["resource"].split("/")[2]
                count = 2 if question["route"]["operation"] == "patch" else 1
                await eventually(
                    lambda event=event: cloud.api.list(EVENTS, "default"),
                    lambda page, event=event, count=count: (
                        (event, count)
                        in [(each["metadata"]["name"], each["count"]) for each in page.items]
                    ),
                )
            answered.add(tuple(question["route"]["resource"].split("/")[1:2]))
        assert len(answered) >= 9, "the recording has questions of each kind"
    assert len(issued) == 1
