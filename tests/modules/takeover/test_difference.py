"""What an edge is sent, by what it has acknowledged and what it is to have."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from modules.common.sync.sync_form import Sync, read_sync
from modules.takeover.check.difference import (
    DEVICE_KINDS,
    KINDS,
    Difference,
    difference,
    recorded,
    wanted,
)

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


def found(pods: list[Json], syncs: list[Sync], **others: list[Json]) -> Difference:
    return difference("edge", wanted(pods, others), recorded(syncs, KINDS | DEVICE_KINDS))


def numbers(change: Difference) -> tuple[int, ...]:
    """Return how many are the same, inserts, updates and deletes."""
    counts = (change.inserts, change.updates, change.deletes)
    return change.same, *(each.total() for each in counts)


@pytest.mark.parametrize(
    ("pods", "syncs", "expected"),
    [
        ([], [], (0, 0, 0, 0)),
        ([pod("p", "5")], [sync("p", "5")], (1, 0, 0, 0)),
        ([pod("p", "5")], [], (0, 1, 0, 0)),
        ([pod("p", "6")], [sync("p", "5")], (0, 0, 1, 0)),
        ([pod("p", "6")], [sync("p", "0")], (0, 0, 1, 0)),
        ([pod("p", "6")], [sync("p", "")], (0, 0, 1, 0)),
        ([], [sync("p", "5")], (0, 0, 0, 1)),
        ([pod("p", "6", "other")], [sync("p", "5")], (0, 1, 0, 1)),
        ([pod("p", "6", nodeName="another")], [sync("p", "5")], (0, 0, 0, 1)),
        ([pod("p", "6", nodeName="")], [], (0, 0, 0, 0)),
    ],
)
def test_pods(pods: list[Json], syncs: list[Sync], expected: tuple[int, ...]) -> None:
    assert numbers(found(pods, syncs)) == expected


def test_what_pods_refer_to() -> None:
    pods = [pod("p", "1", volumes=VOLUMES), pod("q", "1", volumes=VOLUMES[:1])]
    configmaps = [obj("cm", "3"), obj("unused", "1")]
    syncs = [sync("p", "1"), sync("cm", "2", "ConfigMap"), sync("old", "1", "Secret")]
    assert found(pods, syncs, configmap=configmaps, secret=[obj("s", "1")]) == Difference(
        1, Counter(pod=1, secret=1), Counter(configmap=1), Counter(secret=1)
    )
    # A secret that does not exist
    assert numbers(found(pods, syncs, configmap=configmaps)) == (1, 1, 1, 1)


def device(name: str, version: str, uid: str = "", node: str = "edge") -> Json:
    spec = {"nodeName": node, "deviceModelRef": {"name": "m"}}
    return obj(name, version, uid, spec=spec)


def device_sync(name: str, version: str, kind: str = "Device") -> Sync:
    api = "devices.kubeedge.io/v1beta1"
    return Sync("edge", f"uid-{name}", api, kind, "default", name, version)


M = device_sync("m", "1", "DeviceModel")


@pytest.mark.parametrize(
    ("devices", "models", "syncs", "expected"),
    [
        ([device("d", "5")], [obj("m", "1")], [], (0, 2, 0, 0)),
        ([device("d", "5")], [obj("m", "1")], [M, device_sync("d", "5")], (2, 0, 0, 0)),
        ([device("d", "6")], [obj("m", "1")], [M, device_sync("d", "5")], (1, 0, 1, 0)),
        ([device("d", "5")], [obj("m", "2")], [M, device_sync("d", "5")], (1, 0, 1, 0)),
        # It goes first; its model stays.
        ([device("d", "6", "new")], [obj("m", "1")], [M, device_sync("d", "5")], (1, 1, 0, 1)),
        # Another model takes the place of the former at once.
        ([device("d", "5")], [obj("m", "2", "new")], [M, device_sync("d", "5")], (1, 1, 0, 0)),
        ([], [obj("m", "1")], [M, device_sync("d", "5")], (0, 0, 0, 2)),
        ([device("d", "6", node="x")], [obj("m", "1")], [M, device_sync("d", "5")], (0, 0, 0, 2)),
        # Without its model a device waits, unless the edge has the model still.
        ([device("d", "5")], [], [], (0, 0, 0, 0)),
        ([device("d", "5")], [], [M], (0, 1, 0, 0)),
        ([device("d", "6", "new")], [], [device_sync("d", "5")], (0, 0, 0, 1)),
    ],
)
def test_devices_and_their_models(
    devices: list[Json], models: list[Json], syncs: list[Sync], expected: tuple[int, ...]
) -> None:
    assert numbers(found([], syncs, device=devices, devicemodel=models)) == expected


def test_a_device_without_a_model() -> None:
    assert found([], [], device=[obj("d", "1", spec={"nodeName": "edge"})]).messages == 1


def test_kinds_that_are_not_compared() -> None:
    syncs = [sync("edge", "1", "Node"), sync("d", "1", "Device"), device_sync("d", "1")]
    assert difference("edge", {}, recorded(syncs, KINDS)) == Difference()


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (
            Difference(2),
            "has 2 of its objects in their present state, and is sent nothing",
        ),
        (
            Difference(0, Counter(pod=1), Counter(device=2), Counter(pod=2, secret=1)),
            (
                "has 0 of its objects in their present state, and is sent 1 insert (1 pod), "
                "2 updates (2 devices), 3 deletes (2 pods, 1 secret)"
            ),
        ),
    ],
)
def test_as_text(change: Difference, text: str) -> None:
    assert str(change) == text
    assert change.messages == sum(numbers(change)[1:])


def test_object_syncs_as_they_are_read() -> None:
    spec = {"objectAPIVersion": "v1", "objectKind": "Pod", "objectName": "p"}
    metadata = {"name": "a.b.uid", "namespace": "ns"}
    assert read_sync({"metadata": metadata, "spec": spec}) == Sync(
        "a.b", "uid", "v1", "Pod", "ns", "p", ""
    )
    assert read_sync({"metadata": {"name": "nodot"}, "spec": spec}) is None
    assert read_sync({"metadata": metadata, "spec": None}) is None
