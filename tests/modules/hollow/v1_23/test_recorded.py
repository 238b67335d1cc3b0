"""What a hollow edge sends, beside what recorded edges of 1.20 and 1.23 sent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ipc import Message
from modules.hollow.edge import HollowEdge
from tests.modules.hollow.cloud import Cloud
from tests.modules.hollow.v1_23.api import TIMING, Api, pod, value_of

CAPTURES = Path(__file__).parents[3] / "data" / "captures"
NODES = {"1.20": "edge120", "1.23": "edge123"}
MOUNTS = [{"mountPath": f"/{name}", "name": name} for name in ("cm", "s", "tok")]
VOLUMES = [
    {"name": "cm", "configMap": {"name": "cm1"}},
    {"name": "s", "secret": {"secretName": "s1"}},
    {
        "name": "tok",
        "projected": {
            "sources": [
                {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
                {"configMap": {"name": "kube-root-ca.crt"}},
            ]
        },
    },
]


def recorded(version: str) -> dict[tuple[str, str], Any]:
    """Return the content of the last question of each operation and type."""
    questions = {}
    for line in (CAPTURES / f"v{version}-calls.jsonl").read_text().splitlines():
        question = json.loads(line)["question"]
        kind = question["route"]["resource"].split("/")[1]
        questions[question["route"]["operation"], kind] = question
    return questions


def shape(value: Any) -> Any:
    """Return the keys of an object, of the objects in it, and of the first element of lists."""
    if isinstance(value, dict):
        return {key: shape(each) for key, each in value.items()}
    return [shape(each) for each in value[:1]] if isinstance(value, list) else type(value).__name__


def patch_of(question: dict[str, Any] | Message) -> Any:
    content = question.content if isinstance(question, Message) else question["content"]
    assert isinstance(content, str)  # a string with JSON in it
    return json.loads(content)


def mounted_pod(name: str, node: str) -> dict[str, Any]:
    container = {"name": "c", "image": "app:1", "volumeMounts": MOUNTS}
    return pod(name, node, containers=[container], volumes=VOLUMES)


@pytest.mark.parametrize("version", ["1.20", "1.23"])
async def test_what_is_sent_has_the_recorded_form(cloud: Cloud, api: Api, version: str) -> None:
    node, asked = NODES[version], recorded(version)
    for name in ("configmap/cm1", "configmap/kube-root-ca.crt", "secret/s1"):
        api.put(f"default/{name}", {"metadata": {"name": name}, "data": {}})
    async with HollowEdge(node, cloud.url, kubeedge=version, timing=TIMING):
        for operation, kind in (("insert", "node"), ("update", "lease")):
            question = asked[operation, kind]
            sent = await cloud.message(operation, question["route"]["resource"])
            content = question["content"]
            content["metadata"].pop("managedFields", None)
            ours = shape(value_of(sent))
            if kind == "lease":
                content["metadata"] = {k: content["metadata"][k] for k in ours["metadata"]}
                content = {key: content[key] for key in ours}
            assert ours == shape(content), kind
        made = asked["delete", "pod"]["route"]["resource"].split("/")[2]
        key = f"default/pod/{made}"
        api.push("insert", key, mounted_pod(made, node))
        await cloud.wait(lambda: api.objects[key]["status"]["phase"] == "Running")
        await same_token_request(cloud, asked["query", "serviceaccounttoken"], made)
        pending = patch_of(await cloud.message("patch", f"default/podpatch/{made}"))
        wanted = patch_of(first_patch(version, made))
        if version == "1.20":  # kubelet tells the mounts from 1.31 on; a hollow one always does
            del pending["status"]["containerStatuses"][0]["volumeMounts"]
        assert shape(pending) == shape(wanted)
        going = api.objects[key]
        going["metadata"]["deletionTimestamp"] = "2026-11-28T13:04:30Z"
        api.push("update", key, going)
        sent = await cloud.message("delete", key)
        assert shape(value_of(sent)) == shape(asked["delete", "pod"]["content"])


async def same_token_request(cloud: Cloud, question: dict[str, Any], name: str) -> None:
    sent = value_of(await cloud.message("query", question["route"]["resource"]))
    wanted = question["content"]
    wanted["spec"]["boundObjectRef"]["uid"] = f"uid-{name}"
    assert sent == wanted


def first_patch(version: str, name: str) -> dict[str, Any]:
    for line in (CAPTURES / f"v{version}-calls.jsonl").read_text().splitlines():
        question: dict[str, Any] = json.loads(line)["question"]
        if question["route"]["resource"] == f"default/podpatch/{name}":
            return question
    raise AssertionError(f"no patch of {name} in the recording")


async def test_the_last_message_is_the_recorded_empty_one(cloud: Cloud, edge: HollowEdge) -> None:
    await edge.__aexit__(None, None, None)
    empty = {"header": {"msg_id": "", "timestamp": 0}, "route": {}, "content": None}
    await cloud.wait(lambda: json.loads(cloud.frames[-1]) == empty)
