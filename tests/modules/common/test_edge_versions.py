"""The version of KubeEdge in what a Node says."""

from __future__ import annotations

from typing import Any

import pytest

from modules.common.edge_versions import EdgeVersion
from modules.hollow.versions import VERSIONS


@pytest.mark.parametrize("version", VERSIONS.values(), ids=lambda each: each.number)
def test_of_edges_that_are_served(version: Any) -> None:
    found = EdgeVersion.of({"status": {"nodeInfo": {"kubeletVersion": version.kubelet}}})
    assert str(found) == version.number
    assert found
    assert found.is_tried
    assert found.knows_object_syncs is (version.number != "1.1")


@pytest.mark.parametrize("text", ["v1.10.9-kubeedge-v1.2.0", "v1.99.0-kubeedge-v1.24.0-beta.0"])
def test_of_others(text: str) -> None:
    found = EdgeVersion.of({"status": {"nodeInfo": {"kubeletVersion": text}}})
    assert found
    assert not found.is_tried


@pytest.mark.parametrize(
    "node",
    [
        {},
        {"status": None},
        {"status": {"nodeInfo": {"kubeletVersion": "v1.32.1"}}},
        {"status": {"nodeInfo": {"kubeletVersion": "v1.32.10-kubeedge-v0.0.0-master+$Format:%h$"}}},
    ],
)
def test_of_nodes_that_say_none(node: Any) -> None:
    assert EdgeVersion.of(node) is None
