"""Messages against what the Go cloud sent and the Go edge reported in the recorded session."""

from __future__ import annotations

import json

import pytest

from modules.common.kube import BadObject
from modules.devicecontroller.edge_messages import event_id_of, version_number
from modules.devicecontroller.v1alpha1 import (
    membership,
    twin,
)
from modules.devicecontroller.v1alpha1.device import (
    Desired,
    desired_of,
)
from modules.devicecontroller.v1alpha1.twin import TwinReport
from tests.modules.devicecontroller.samples import LED, device, recorded

MESSAGES = recorded()
ADDED, REMOVED = MESSAGES["membership"]
UPDATED = MESSAGES[f"device/{LED}/twin/cloud_updated"][1]
REPORTED = MESSAGES[f"device/{LED}/twin/edge_updated"][0]


def without_id(content: dict[str, object]) -> dict[str, object]:
    assert content["event_id"]
    return content | {"event_id": ""}


def test_added_as_recorded() -> None:
    content = membership.added(device(version="221"), ADDED["content"]["timestamp"])
    assert without_id(content) == without_id(ADDED["content"])


def test_removed_as_recorded() -> None:
    gone = device(version="228", twins={"power-status": "ON"})
    content = membership.removed(gone, REMOVED["content"]["timestamp"])
    assert without_id(content) == without_id(REMOVED["content"])


def test_twins_as_recorded() -> None:
    changed = device(version="225", twins={"power-status": "ON"})
    content = twin.cloud_updated(
        desired_of(changed), {}, version_number(changed), UPDATED["content"]["timestamp"]
    )
    assert without_id(content) == without_id(UPDATED["content"])


def test_dropped_property_is_told_as_deleted() -> None:
    content = twin.cloud_updated({"a": Desired("1", "int")}, {"b": "2"}, 7, 1000)
    version = {"cloud": 7, "edge": 0}
    assert content["twin"] == {
        "b": {
            "expected": {"value": "2", "metadata": {"timestamp": 1000}},
            "optional": False,
            "metadata": {"type": "deleted"},
            "expected_version": version,
        },
        "a": {
            "expected": {"value": "1", "metadata": {"timestamp": 1000}},
            "optional": False,
            "metadata": {"type": "int"},
            "expected_version": version,
        },
    }


def test_device_without_twins_and_description() -> None:
    plain = device(twins={})
    del plain["metadata"]["labels"]
    assert membership.describe(plain, 7, 1000) == {"id": LED, "name": LED}


def test_detail() -> None:
    described = [membership.describe(device(), 7, 1000)]
    content = membership.detail(described, "123", 1000)
    assert content == {"event_id": "123", "timestamp": 1000, "devices": described}
    assert membership.detail([], "", 1000)["event_id"]


@pytest.mark.parametrize("form", [json.dumps, lambda content: json.dumps(content).encode(), dict])
def test_recorded_get_is_read(form: object) -> None:
    asked = MESSAGES["membership/detail"][0]["content"]
    assert event_id_of(form(asked)) == "123"  # type: ignore[operator]


@pytest.mark.parametrize("content", [None, b"", b"[", "x", 5, b'{"event_id":7}'])
def test_get_without_an_id(content: object) -> None:
    assert event_id_of(content) == ""


@pytest.mark.parametrize("form", [json.dumps, lambda content: json.dumps(content).encode(), dict])
def test_recorded_report_is_read(form: object) -> None:
    content = form(REPORTED["content"])  # type: ignore[operator]
    assert twin.reports(content) == {"power-status": TwinReport("ON", 1795475365273, "string", 1)}


def test_reported_as_go_writes_it() -> None:
    report = TwinReport("ON", 1795475365273, "string", 1)
    assert report.as_reported() == {
        "value": "ON",
        "metadata": {"timestamp": "1795475365273", "type": "string"},
    }
    assert TwinReport("ON", None, None, 0).as_reported() == {"value": "ON", "metadata": {}}


def test_report_without_actual_values() -> None:
    # What an edge sends when it refuses a desired value, and after a property was deleted.
    content = b'{"twin":{"a":{"expected":{"value":"1"}},"b":{},"c":null,"d":{"actual":{}}}}'
    assert twin.reports(content) == {}
    assert twin.reports(b"{}") == {}


@pytest.mark.parametrize(
    "content", [None, b"", b"[]", b'{"twin":[]}', b'{"twin":{"a":{"actual":{"value":1}}}}', 3]
)
def test_what_is_no_report(content: object) -> None:
    with pytest.raises(BadObject):
        twin.reports(content)
