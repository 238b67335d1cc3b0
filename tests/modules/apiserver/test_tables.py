from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from modules.apiserver import columns
from modules.apiserver.columns.cells import human_duration, since
from modules.apiserver.columns.crds import custom_columns, find
from modules.apiserver.http.tables import table

META = {"name": "x", "creationTimestamp": "2020-01-01T00:00:00Z"}


def cells(kind: Any, obj: dict[str, Any]) -> dict[str, Any]:
    built = table(kind, [{"metadata": META, **obj}], {})
    names = [column["name"] for column in built["columnDefinitions"]]
    return dict(zip(names, built["rows"][0]["cells"], strict=True))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "<invalid>"), (-0.5, "0s"), (0, "0s"), (119, "119s"), (120, "2m"), (125, "2m5s"),
        (600, "10m"), (10799, "179m"), (10800, "3h"), (12000, "3h20m"), (28800, "8h"),
        (172799, "47h"), (172800, "2d"), (180000, "2d2h"), (691200, "8d"), (63071999, "729d"),
        (63072000, "2y"), (63158400, "2y1d"), (252288000, "8y"),
    ],
)  # fmt: skip
def test_durations(seconds: float, text: str) -> None:
    assert human_duration(seconds) == text


def test_since() -> None:
    now = datetime(2026, 1, 1, 0, 1, tzinfo=UTC)
    assert since("2026-01-01T00:00:00Z", now) == "60s"
    assert since(None) == "<unknown>"
    assert since("yesterday") == "<invalid>"


def test_node() -> None:
    row = cells(
        columns.NODES,
        {
            "metadata": {
                **META,
                "labels": {"node-role.kubernetes.io/edge": "", "node-role.kubernetes.io/agent": ""},
            },
            "spec": {"unschedulable": True},
            "status": {
                "conditions": [{"type": "Ready", "status": "Unknown"}],
                "nodeInfo": {"kubeletVersion": "v1"},
                "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}],
            },
        },
    )
    assert row["Status"] == "NotReady,SchedulingDisabled"
    assert row["Roles"] == "agent,edge"
    assert row["Version"] == "v1"
    assert row["Internal-IP"] == "10.0.0.1"
    assert cells(columns.NODES, {})["Status"] == "Unknown"


def running(name: str = "c", **more: Any) -> dict[str, Any]:
    return {"name": name, "ready": True, "restartCount": 0, "state": {"running": {}}, **more}


@pytest.mark.parametrize(
    ("status", "ready", "text"),
    [
        ({"phase": "Pending"}, "0/1", "Pending"),
        ({"phase": "Running", "containerStatuses": [running()]}, "1/1", "Running"),
        (
            {
                "phase": "Pending",
                "containerStatuses": [{"state": {"waiting": {"reason": "ImagePullBackOff"}}}],
            },
            "0/1",
            "ImagePullBackOff",
        ),
        (
            {"phase": "Failed", "containerStatuses": [{"state": {"terminated": {"exitCode": 3}}}]},
            "0/1",
            "ExitCode:3",
        ),
        (
            {
                "phase": "Pending",
                "initContainerStatuses": [
                    {"state": {"terminated": {"exitCode": 0}}},
                    {"state": {}},
                ],
            },
            "0/1",
            "Init:1/2",
        ),
        ({"phase": "Failed", "reason": "Evicted"}, "0/1", "Evicted"),
    ],
)
def test_pod_status(status: dict[str, Any], ready: str, text: str) -> None:
    spec = {"containers": [{}], "initContainers": [{}, {}]}
    row = cells(columns.PODS, {"spec": spec, "status": status})
    assert (row["Ready"], row["Status"]) == (ready, text)


def test_pod_that_is_being_deleted_and_restarts() -> None:
    ended = {"terminated": {"finishedAt": "2020-01-01T00:00:00Z"}}
    row = cells(
        columns.PODS,
        {
            "metadata": {**META, "deletionTimestamp": "2020-01-01T00:00:00Z"},
            "status": {"containerStatuses": [running(restartCount=2, lastState=ended)]},
        },
    )
    assert row["Status"] == "Terminating"
    assert row["Restarts"].startswith("2 (")
    assert row["Restarts"].endswith(" ago)")
    assert row["Node"] == "<none>"


def test_services_and_endpoints() -> None:
    ports = [{"port": 80, "nodePort": 30000, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}]
    row = cells(
        columns.SERVICES, {"spec": {"type": "NodePort", "ports": ports, "selector": {"a": "b"}}}
    )
    assert row["Port(s)"] == "80:30000/TCP,53/UDP"
    assert row["Selector"] == "a=b"
    assert cells(columns.SERVICES, {"spec": {"type": "LoadBalancer"}})["External-IP"] == "<pending>"
    subset = {"addresses": [{"ip": f"10.0.0.{i}"} for i in range(5)], "ports": [{"port": 80}]}
    endpoints = cells(columns.ENDPOINTS, {"subsets": [subset]})["Endpoints"]
    assert endpoints == "10.0.0.0:80,10.0.0.1:80,10.0.0.2:80 + 2 more..."


def test_configmaps_and_secrets_count_their_data() -> None:
    assert cells(columns.CONFIGMAPS, {"data": {"a": "b"}, "binaryData": {"c": "d"}})["Data"] == 2
    assert cells(columns.SECRETS, {"type": "Opaque"})["Data"] == 0


def test_one_odd_object_does_not_hide_the_others() -> None:
    row = cells(columns.PODS, {"status": {"containerStatuses": "nonsense"}})
    assert row["Status"] == "<invalid>"
    assert row["Name"] == "x"


def test_rows_carry_as_much_of_the_object_as_asked_for() -> None:
    obj = {"metadata": META, "data": {"a": "b"}}
    for include, found in (
        ("None", None),
        ("Object", obj),
        (
            "Metadata",
            {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": META},
        ),
    ):
        row = table(columns.CONFIGMAPS, [obj], {}, include_object=include)["rows"][0]
        assert row.get("object") == found


def test_columns_of_custom_resources() -> None:
    definitions = [
        {
            "name": "Ready",
            "type": "string",
            "jsonPath": '.status.conditions[?(@.type=="Ready")].status',
        },
        {"name": "First", "type": "integer", "jsonPath": ".spec.list[0]", "priority": 1},
        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
        {"name": "All", "type": "string", "jsonPath": ".spec.list[*]"},
    ]
    obj = {
        "spec": {"list": [7, 8]},
        "status": {"conditions": [{"type": "X", "status": "a"}, {"type": "Ready", "status": "b"}]},
    }
    row = cells(custom_columns(definitions), obj)
    assert (row["Ready"], row["First"], row["All"]) == ("b", 7, "7,8")
    assert row["Age"].endswith("d") or row["Age"].endswith("y")
    assert find({"a": {"x.y": 1}}, r".a.x\.y") == [1]
    assert find({"a": {"x.y": 1}}, ".a['x.y']") == [1]
    with pytest.raises(ValueError, match="cannot understand"):
        find({}, ".a[?(@.b>3)]")
