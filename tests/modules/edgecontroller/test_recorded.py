"""What is sent, field by field against what the recorded Go cloud sent (v1.1-edge.jsonl)."""

import json
from pathlib import Path
from typing import Any

import pytest

from modules.common.kube import PODS

from .cloud import Cloud
from .objects import NODE, Json

CAPTURE = Path(__file__).parents[2] / "data" / "captures" / "v1.1-edge.jsonl"

#: What a server makes up for each object.
MADE_UP = ("uid", "resourceVersion", "creationTimestamp", "deletionTimestamp")


def recorded() -> list[tuple[Json, Json]]:
    """Return route and content of each message of the edge controller, in order."""
    lines = map(json.loads, CAPTURE.read_text().splitlines())
    messages = [
        line["message"] for line in lines if line.get("dir") == "cloud->edge" and "message" in line
    ]
    return [
        (message["route"], json.loads(message["content"]))
        for message in messages
        if message["route"]["source"] == "edgecontroller"
    ]


def comparable(content: Json) -> Json:
    """Leave out what differs by nature, and managed fields, which are not sent here.

    The recorded pod had no service account.
    """
    left_out = {*MADE_UP, "managedFields"}
    metadata = {key: value for key, value in content["metadata"].items() if key not in left_out}
    without = {"serviceAccount", "serviceAccountName"}
    spec = {key: value for key, value in content["spec"].items() if key not in without}
    return {**content, "metadata": metadata, "spec": spec}


@pytest.fixture
async def sent(running: Cloud) -> list[Any]:
    """Do to the API what was done in the recording, and return what is sent."""
    _, content = recorded()[0]
    metadata = {
        key: content["metadata"][key] for key in ("name", "namespace", "labels", "annotations")
    }
    await running.api.create(PODS, {"metadata": metadata, "spec": content["spec"]}, "default")
    messages = [await running.next()]
    await running.api.patch(PODS, "p1", {"metadata": {"labels": {"x": "y"}}}, "default")
    messages.append(await running.next())
    await running.api.delete(PODS, "p1", "default", grace_period=30)
    messages.append(await running.next())
    await running.api.delete(PODS, "p1", "default", grace_period=0)
    messages.append(await running.next())
    return messages


async def test_same_routes(sent: list[Any]) -> None:
    expected = [
        (route["source"], route["group"], route["operation"], f"node/{NODE}/{route['resource']}")
        for route, _ in recorded()
    ]
    assert [(m.source, m.group, m.operation, m.resource) for m in sent] == expected


async def test_same_contents(sent: list[Any]) -> None:
    for message, (_, expected) in zip(sent, recorded(), strict=True):
        ours, theirs = comparable(message.content), comparable(expected)
        for seconds in (ours, theirs):  # the recording deleted at once, in two steps
            seconds["metadata"].pop("deletionGracePeriodSeconds", None)
        assert ours == theirs, message.operation


async def test_same_fields_on_top(sent: list[Any]) -> None:
    """A typed pod has neither kind nor apiVersion in Go's JSON."""
    for message, (_, expected) in zip(sent, recorded(), strict=True):
        assert set(message.content) == set(expected)
        assert set(message.content["metadata"]) == set(expected["metadata"]) - {"managedFields"}
