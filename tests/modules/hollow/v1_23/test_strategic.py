"""Strategic merge patches, beside those that a recorded edge of 1.23 sent."""

from __future__ import annotations

from typing import Any

import pytest

from modules.hollow.v1_23.strategic import difference
from tests.modules.hollow.v1_23.api import apply

CONDITION = {"type": "Ready", "status": "False", "reason": "R", "lastTransitionTime": "1"}


@pytest.mark.parametrize(
    ("old", "new", "patch"),
    [
        ({"a": 1}, {"a": 1}, {}),
        ({"a": 1}, {"a": 2, "b": 3}, {"a": 2, "b": 3}),
        ({"a": 1, "b": 2}, {"a": 1}, {"b": None}),
        ({"a": {"x": 1, "y": 2}}, {"a": {"x": 1}}, {"a": {"y": None}}),
        ({"l": [1, 2]}, {"l": [2]}, {"l": [2]}),
        ({}, {"conditions": [CONDITION]}, {"conditions": [CONDITION]}),
        (
            {"conditions": [CONDITION, {"type": "Old", "status": "True"}]},
            {"conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2"}]},
            {
                "$setElementOrder/conditions": [{"type": "Ready"}],
                "conditions": [
                    {
                        "type": "Ready",
                        "status": "True",
                        "reason": None,
                        "lastTransitionTime": "2",
                    },
                    {"$patch": "delete", "type": "Old"},
                ],
            },
        ),
        (
            {"podIPs": [{"ip": "a"}]},
            {"podIPs": [{"ip": "b"}]},
            {
                "$setElementOrder/podIPs": [{"ip": "b"}],
                "podIPs": [{"ip": "b"}, {"$patch": "delete", "ip": "a"}],
            },
        ),
        (
            {"containerStatuses": [{"name": "c", "ready": False, "restartCount": 0}]},
            {"containerStatuses": [{"name": "c", "ready": True, "restartCount": 0}]},
            {"containerStatuses": [{"name": "c", "ready": True, "restartCount": 0}]},
        ),
    ],
)
def test_the_patch_makes_the_new_of_the_old(
    old: dict[str, Any], new: dict[str, Any], patch: dict[str, Any]
) -> None:
    assert difference(old, new) == patch
    assert apply(old, patch) == new
