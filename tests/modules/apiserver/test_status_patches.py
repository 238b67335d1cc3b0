"""Patches of the status of nodes and pods, as kubelets send them.

tests/data/apiserver/status_patches.json has the Node and the patches of a real edgecore 1.23.1 and
some more with every directive, and what kube-apiserver 1.36 answered to each.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.modules.apiserver.api import Api

DATA = json.loads(
    (Path(__file__).parents[2] / "data" / "apiserver" / "status_patches.json").read_text()
)
_OWN = ("uid", "resourceVersion", "creationTimestamp", "generation", "managedFields", "namespace")


def bare(obj: Any) -> Any:
    metadata = {key: value for key, value in obj["metadata"].items() if key not in _OWN}
    return {"metadata": metadata, "status": normal(obj.get("status"))}


def normal(value: Any) -> Any:
    """Return a value without what Go adds: fields that are empty or null mean the same absent."""
    if isinstance(value, dict):
        clean = {key: normal(item) for key, item in value.items()}
        return {key: item for key, item in clean.items() if item not in (None, {}, [], "")}
    if isinstance(value, list):
        return [normal(item) for item in value]
    return value


async def replay(api: Api, collection: str, kind: str) -> None:
    recorded = DATA[kind]
    made = await api.call("POST", collection, recorded["create"], expect=201)
    name, uid = made["metadata"]["name"], made["metadata"]["uid"]
    for number, step in enumerate(recorded["steps"]):
        patch = json.loads(json.dumps(step["patch"]).replace('"UID"', f'"{uid}"'))
        answer = await api.patch(
            f"{collection}/{name}/status", patch, "strategic-merge-patch", expect=step["code"]
        )
        if step["code"] == 200:
            assert bare(answer) == bare(step["result"]), (number, patch)
        else:
            assert answer["message"] == step["result"]["message"]


async def test_a_node_is_registered_and_patched(api: Api) -> None:
    await replay(api, "/api/v1/nodes", "node")


async def test_a_pod_is_patched(api: Api) -> None:
    await replay(api, "/api/v1/namespaces/default/pods", "pod")


async def test_a_pod_is_deleted_by_its_node_only_if_it_is_the_same(api: Api) -> None:
    path = "/api/v1/namespaces/default/pods"
    made = await api.call("POST", path, DATA["pod"]["create"], expect=201)
    wrong = {"gracePeriodSeconds": 0, "preconditions": {"uid": "another"}}
    await api.call("DELETE", f"{path}/p3", wrong, expect=409)
    assert (await api.call("GET", f"{path}/p3"))["metadata"]["uid"] == made["metadata"]["uid"]
    right = {"gracePeriodSeconds": 0, "preconditions": {"uid": made["metadata"]["uid"]}}
    gone = await api.call("DELETE", f"{path}/p3", right)
    assert gone["kind"] == "Pod"
    await api.call("GET", f"{path}/p3", expect=404)
