"""Reading objects that may lack anything."""

from __future__ import annotations

from typing import Any

import pytest

from modules.common.device_references import selected_node
from modules.devicecontroller.edge_messages import version_number
from modules.devicecontroller.v1alpha1.device import (
    Desired,
    desired_of,
    keep_device,
    lost_reports,
    model_of,
)
from tests.modules.devicecontroller.samples import NODE, device


def test_node_is_the_first_value_of_the_first_expression() -> None:
    found = device()
    found["spec"]["nodeSelector"]["nodeSelectorTerms"].append(
        {"matchExpressions": [{"key": "", "operator": "In", "values": ["other"]}]}
    )
    found["spec"]["nodeSelector"]["nodeSelectorTerms"][0]["matchExpressions"][0]["values"].append(
        "third"
    )
    assert selected_node(found) == NODE


@pytest.mark.parametrize(
    "selector",
    [
        None,
        {},
        "edge",
        {"nodeSelectorTerms": None},
        {"nodeSelectorTerms": []},
        {"nodeSelectorTerms": {"matchExpressions": []}},
        {"nodeSelectorTerms": [{}]},
        {"nodeSelectorTerms": ["edge"]},
        {"nodeSelectorTerms": [{"matchExpressions": [{"values": []}]}]},
        {"nodeSelectorTerms": [{"matchExpressions": [{"values": [1]}]}]},
        {"nodeSelectorTerms": [{"matchExpressions": [{"values": ["a/b"]}]}]},
    ],
)
def test_selector_that_names_no_node(selector: Any) -> None:
    assert selected_node({"metadata": {"name": "d"}, "spec": {"nodeSelector": selector}}) == ""


def test_desired_defaults_are_those_of_go() -> None:
    found = device()
    found["status"] = {
        "twins": [
            {"propertyName": "a"},
            {"propertyName": "b", "desired": {"value": "1"}},
            {"propertyName": "c", "desired": {"value": "1", "metadata": {"type": "int"}}},
        ]
    }
    assert desired_of(found) == {
        "a": Desired("", "string"),
        "b": Desired("1", "string"),
        "c": Desired("1", "int"),
    }


def test_empty_object_is_read() -> None:
    empty = {"metadata": {"name": "d", "namespace": "default"}}
    assert (selected_node(empty), model_of(empty), desired_of(empty)) == ("", ("default", ""), {})
    assert version_number(empty) == 0
    assert desired_of(keep_device(empty)) == {}


def test_kept_device_is_what_is_used() -> None:
    whole = device()
    whole["metadata"]["managedFields"] = [{"manager": "kubectl"}]
    kept = keep_device(whole)
    assert "managedFields" not in kept["metadata"]
    assert kept["metadata"]["labels"] == {"description": "LEDLight"}
    assert desired_of(kept) == desired_of(whole)
    assert selected_node(kept) == NODE


def test_a_lost_report_is_one_of_a_property_that_the_device_still_has() -> None:
    kept, lost, dropped = ({"value": value, "metadata": {}} for value in ("1", "2", "3"))
    old, new = device(), device()
    old["status"]["twins"] = [
        {"propertyName": "kept", "reported": kept},
        {"propertyName": "lost", "reported": lost},
        {"propertyName": "dropped", "reported": dropped},
        {"propertyName": "silent"},
    ]
    new["status"]["twins"] = [
        {"propertyName": "kept", "reported": {"value": "newer", "metadata": {}}},
        {"propertyName": "lost"},
        {"propertyName": "silent"},
        {"propertyName": "new"},
    ]
    assert lost_reports(old, new) == {"lost": lost}
