"""What edges from 1.2 to 1.22 do with their own Node, and what no edge may do with it."""

from __future__ import annotations

import pytest

from modules.common.kube import NODES

from .cloud import Cloud
from .objects import NODE, node
from .samples import node_status
from .today import OTHER, REGISTERED, fields, register, responds, without_managed_fields

STATUS = f"default/nodestatus/{NODE}"


async def test_an_edge_before_1_12_registers_by_its_status(today: Cloud) -> None:
    for _ in range(2):  # the second finds the Node
        answer = await today.call("insert", STATUS, REGISTERED)
        assert (fields(answer), answer.content) == (responds(f"default/node/{NODE}"), "OK")
    found = await today.api.get(NODES, NODE)
    assert found["metadata"]["labels"] == REGISTERED["metadata"]["labels"]


async def test_a_registration_that_fails_is_no_success(today: Cloud) -> None:
    answer = await today.call("insert", STATUS, {"metadata": {"labels": 5}})
    assert answer.operation == "error"
    assert "metadata.labels" in answer.content
    answer = await today.call("insert", f"default/nodestatus/{OTHER}", REGISTERED)
    assert answer.operation == "error"


async def test_a_status_is_acknowledged_with_its_version(today: Cloud) -> None:
    await register(today)
    answer = await today.call("update", STATUS, node_status())
    found = await today.api.get(NODES, NODE)
    assert (fields(answer), answer.content) == (responds(f"default/node/{NODE}"), "OK")
    assert answer.resource_version == found["metadata"]["resourceVersion"]


async def test_an_edge_reads_its_own_node(today: Cloud) -> None:
    missing = await today.call("query", f"default/node/{NODE}")
    assert missing.operation == "error"
    await today.api.create(NODES, node())  # not awaited: the cache may not have it
    answer = await today.call("query", f"default/node/{NODE}")
    found = without_managed_fields(await today.api.get(NODES, NODE))
    assert (fields(answer), answer.content) == (responds(f"default/node/{NODE}"), found)
    assert answer.resource_version == found["metadata"]["resourceVersion"]
    denied = await today.call("query", f"default/node/{OTHER}")
    assert denied.operation == "error"


async def test_an_edge_changes_labels_of_its_own(today: Cloud) -> None:
    await register(today)
    found = await today.api.get(NODES, NODE)
    found["metadata"]["labels"] |= {"node.kubernetes.io/a": "b", "plain": "c"}
    found["metadata"]["annotations"]["d"] = "e"
    answer = await today.call("update", f"default/node/{NODE}", found)
    changed = await today.api.get(NODES, NODE)
    assert (fields(answer), answer.content) == (responds(f"default/node/{NODE}"), "OK")
    assert answer.resource_version == changed["metadata"]["resourceVersion"]
    assert changed["metadata"]["labels"] == found["metadata"]["labels"]
    assert changed["metadata"]["annotations"] == found["metadata"]["annotations"]


@pytest.mark.parametrize(
    "label", ["node-role.kubernetes.io/control-plane", "node-restriction.kubernetes.io/a"]
)
async def test_an_edge_changes_no_other_labels(today: Cloud, label: str) -> None:
    await register(today)
    before = await today.api.get(NODES, NODE)
    content = {"metadata": {"labels": {label: ""}, "annotations": {"a": "b"}}}
    answer = await today.call("update", f"default/node/{NODE}", content)
    assert answer.operation == "error"
    assert label in answer.content
    assert await today.api.get(NODES, NODE) == before


async def test_a_v1_1_edge_changes_no_labels(running: Cloud) -> None:
    """As its cloud: it merges the annotations alone."""
    content = {"metadata": {"labels": {"plain": "c"}, "annotations": {"a": "b"}}}
    await running.call("update", f"default/node/{NODE}", content)
    found = await running.api.get(NODES, NODE)
    assert found["metadata"]["annotations"] == {"a": "b"}
    assert "plain" not in found["metadata"]["labels"]
