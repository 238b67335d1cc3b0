"""What an edge is sent, by what it has acknowledged and what it is to have."""

from __future__ import annotations

from typing import Any

import pytest

from modules.common.sync.object_syncs import Sync, read_sync
from modules.takeover.check.difference import Difference, difference, recorded, wanted

Json = dict[str, Any]


def obj(name: str, version: str, uid: str = "", **fields: Any) -> Json:
    metadata = {
        "name": name,
        "namespace": "default",
        "uid": uid or f"uid-{name}",
        "resourceVersion": version,
    }
    return {"metadata": metadata, **fields}


def pod(name: str, version: str, uid: str = "", **spec: Any) -> Json:
    return obj(name, version, uid, spec={"nodeName": "edge", **spec})


def sync(name: str, version: str, kind: str = "Pod", uid: str = "") -> Sync:
    return Sync("edge", uid or f"uid-{name}", "v1", kind, "default", name, version)


VOLUMES = [{"configMap": {"name": "cm"}}, {"secret": {"secretName": "s"}}]


def found(
    pods: list[Json], syncs: list[Sync], configmaps: list[Json] = (), secrets: list[Json] = ()
) -> Difference:
    wants = wanted(pods, {"configmap": configmaps, "secret": secrets})
    return difference("edge", wants, recorded(syncs))


@pytest.mark.parametrize(
    ("pods", "syncs", "expected"),
    [
        ([], [], Difference(0, 0, 0, 0)),
        ([pod("p", "5")], [sync("p", "5")], Difference(1, 0, 0, 0)),
        ([pod("p", "5")], [], Difference(0, 1, 0, 0)),
        ([pod("p", "6")], [sync("p", "5")], Difference(0, 0, 1, 0)),
        ([pod("p", "6")], [sync("p", "0")], Difference(0, 0, 1, 0)),
        ([pod("p", "6")], [sync("p", "")], Difference(0, 0, 1, 0)),
        ([], [sync("p", "5")], Difference(0, 0, 0, 1)),
        ([pod("p", "6", "other")], [sync("p", "5")], Difference(0, 1, 0, 1)),
        ([pod("p", "6", nodeName="another")], [sync("p", "5")], Difference(0, 0, 0, 1)),
        ([pod("p", "6", nodeName="")], [], Difference(0, 0, 0, 0)),
    ],
)
def test_pods(pods: list[Json], syncs: list[Sync], expected: Difference) -> None:
    assert found(pods, syncs) == expected


def test_what_pods_refer_to() -> None:
    pods = [pod("p", "1", volumes=VOLUMES), pod("q", "1", volumes=VOLUMES[:1])]
    configmaps = [obj("cm", "3"), obj("unused", "1")]
    syncs = [sync("p", "1"), sync("cm", "2", "ConfigMap"), sync("old", "1", "Secret")]
    assert found(pods, syncs, configmaps, [obj("s", "1")]) == Difference(1, 2, 1, 1)
    assert found(pods, syncs, configmaps) == Difference(1, 1, 1, 1)  # a secret that does not exist


def test_kinds_that_are_not_compared() -> None:
    assert found([], [sync("edge", "1", "Node"), sync("d", "1", "Device")]) == Difference(
        0, 0, 0, 0
    )


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (
            Difference(2, 0, 0, 0),
            "has 2 of its objects in their present state, and is sent nothing",
        ),
        (
            Difference(0, 1, 2, 3),
            (
                "has 0 of its objects in their present state, and is sent 1 insert, 2 updates, "
                "3 deletes"
            ),
        ),
    ],
)
def test_as_text(change: Difference, text: str) -> None:
    assert str(change) == text
    assert change.messages == change.inserts + change.updates + change.deletes


def test_object_syncs_as_they_are_read() -> None:
    spec = {"objectAPIVersion": "v1", "objectKind": "Pod", "objectName": "p"}
    metadata = {"name": "a.b.uid", "namespace": "ns"}
    assert read_sync({"metadata": metadata, "spec": spec}) == Sync(
        "a.b", "uid", "v1", "Pod", "ns", "p", ""
    )
    assert read_sync({"metadata": {"name": "nodot"}, "spec": spec}) is None
    assert read_sync({"metadata": metadata, "spec": None}) is None
