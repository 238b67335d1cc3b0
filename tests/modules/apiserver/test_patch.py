from __future__ import annotations

import contextlib
import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modules.apiserver.kinds.mergekeys import COMMON, MERGE_KEYS
from modules.apiserver.meta.status import ApiError
from modules.apiserver.patch import apply
from modules.apiserver.patch.jsonpatch import apply_json_patch
from modules.apiserver.patch.merge import apply_merge_patch
from modules.apiserver.patch.strategic import apply_strategic_patch

PODS = {**COMMON, **MERGE_KEYS["pods"]}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3)
    ),
    max_leaves=8,
)
MAPS = st.dictionaries(st.text(max_size=2), JSON, max_size=3)


# The examples of RFC 7386, appendix A.
@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "b"}, ["c"], ["c"]),
        ({"a": "foo"}, None, None),
        ({"a": "foo"}, "bar", "bar"),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merge_patch(target: Any, patch: Any, result: Any) -> None:
    assert apply_merge_patch(target, patch) == result


@given(MAPS, MAPS)
def test_merge_patch_twice_is_once(target: Any, patch: Any) -> None:
    once = apply_merge_patch(copy.deepcopy(target), patch)
    assert apply_merge_patch(copy.deepcopy(once), patch) == once


@pytest.mark.parametrize(
    ("document", "operation", "result"),
    [
        ({"a": 1}, {"op": "add", "path": "/b", "value": 2}, {"a": 1, "b": 2}),
        ({"a": [1, 3]}, {"op": "add", "path": "/a/1", "value": 2}, {"a": [1, 2, 3]}),
        ({"a": [1]}, {"op": "add", "path": "/a/-", "value": 2}, {"a": [1, 2]}),
        ({"a": [1, 2]}, {"op": "remove", "path": "/a/0"}, {"a": [2]}),
        ({"a": [1, 2]}, {"op": "replace", "path": "/a/0", "value": 9}, {"a": [9, 2]}),
        ({"a": 1}, {"op": "move", "from": "/a", "path": "/b"}, {"b": 1}),
        ({"a": 1}, {"op": "copy", "from": "/a", "path": "/b"}, {"a": 1, "b": 1}),
        (
            {"a/b": {"m~n": 1}},
            {"op": "test", "path": "/a~1b/m~0n", "value": 1},
            {"a/b": {"m~n": 1}},
        ),
        ({"a": 1}, {"op": "replace", "path": "", "value": {"b": 2}}, {"b": 2}),
    ],
)
def test_json_patch(document: Any, operation: Any, result: Any) -> None:
    assert apply_json_patch(document, [operation]) == result


@pytest.mark.parametrize(
    ("operation", "code"),
    [
        ({"op": "remove", "path": "/missing"}, 422),
        ({"op": "replace", "path": "/missing", "value": 1}, 422),
        ({"op": "test", "path": "/a", "value": True}, 422),
        ({"op": "add", "path": "/list/9", "value": 1}, 422),
        ({"op": "add", "path": "/list/01", "value": 1}, 422),
        ({"op": "add", "path": "/a/b", "value": 1}, 422),
        ({"op": "add", "path": "/a"}, 400),
        ({"op": "add", "path": "a", "value": 1}, 400),
        ({"op": "twist", "path": "/a"}, 400),
        ("add", 400),
    ],
)
def test_json_patch_that_does_not_fit(operation: Any, code: int) -> None:
    with pytest.raises(ApiError) as raised:
        apply_json_patch({"a": 1, "list": []}, [operation])
    assert raised.value.code == code


def containers(*names: str, **more: Any) -> dict[str, Any]:
    return {
        "spec": {"containers": [{"name": name, "image": f"{name}:1"} for name in names], **more}
    }


def names_of(obj: Any) -> list[str]:
    return [item["name"] for item in obj["spec"]["containers"]]


def test_strategic_patch_merges_items_by_key() -> None:
    patch = {
        "spec": {
            "containers": [{"name": "b", "image": "b:2", "env": [{"name": "X", "value": "1"}]}]
        }
    }
    patched = apply_strategic_patch(containers("a", "b"), patch, PODS)
    assert patched["spec"]["containers"] == [
        {"name": "a", "image": "a:1"},
        {"name": "b", "image": "b:2", "env": [{"name": "X", "value": "1"}]},
    ]


def test_strategic_patch_merges_lists_inside_items() -> None:
    obj = containers("a")
    obj["spec"]["containers"][0]["env"] = [{"name": "X", "value": "1"}, {"name": "Y", "value": "2"}]
    patch = {"spec": {"containers": [{"name": "a", "env": [{"name": "X", "$patch": "delete"}]}]}}
    patched = apply_strategic_patch(obj, patch, PODS)
    assert patched["spec"]["containers"][0]["env"] == [{"name": "Y", "value": "2"}]


def test_strategic_patch_deletes_and_replaces_lists() -> None:
    deleted = apply_strategic_patch(
        containers("a", "b"), {"spec": {"containers": [{"name": "a", "$patch": "delete"}]}}, PODS
    )
    assert names_of(deleted) == ["b"]
    replaced = apply_strategic_patch(
        containers("a", "b"), {"spec": {"containers": [{"$patch": "replace"}, {"name": "z"}]}}, PODS
    )
    assert names_of(replaced) == ["z"]


def test_strategic_patch_replaces_and_empties_maps() -> None:
    obj = {"metadata": {"labels": {"a": "1", "b": "2"}, "annotations": {"x": "y"}}}
    patch = {
        "metadata": {"labels": {"$patch": "replace", "c": "3"}, "annotations": {"$patch": "delete"}}
    }
    patched = apply_strategic_patch(obj, patch, PODS)
    assert patched == {"metadata": {"labels": {"c": "3"}, "annotations": {}}}


def test_strategic_patch_of_other_lists_replaces_them() -> None:
    obj = {"spec": {"tolerations": [{"key": "a"}, {"key": "b"}]}}
    patched = apply_strategic_patch(obj, {"spec": {"tolerations": [{"key": "c"}]}}, PODS)
    assert patched["spec"]["tolerations"] == [{"key": "c"}]


def test_strategic_patch_of_plain_values() -> None:
    obj = {"metadata": {"finalizers": ["a", "b"]}}
    patch = {
        "metadata": {
            "$deleteFromPrimitiveList/finalizers": ["a"],
            "$setElementOrder/finalizers": ["c", "b"],
            "finalizers": ["c"],
        }
    }
    patched = apply_strategic_patch(obj, patch, PODS)
    assert patched == {"metadata": {"finalizers": ["c", "b"]}}


def test_strategic_patch_sets_the_order_and_keeps_the_servers_items() -> None:
    patch = {
        "spec": {
            "$setElementOrder/containers": [{"name": "b"}, {"name": "a"}, {"name": "new"}],
            "containers": [{"name": "new"}],
        }
    }
    patched = apply_strategic_patch(containers("server", "a", "b"), patch, PODS)
    assert names_of(patched) == ["server", "b", "a", "new"]


def test_strategic_patch_retains_keys() -> None:
    obj = {"spec": {"volumes": [{"name": "v", "emptyDir": {}}]}}
    volume = {"name": "v", "$retainKeys": ["name", "hostPath"], "hostPath": {"path": "/x"}}
    patched = apply_strategic_patch(obj, {"spec": {"volumes": [volume]}}, PODS)
    assert patched["spec"]["volumes"] == [{"name": "v", "hostPath": {"path": "/x"}}]


def test_strategic_patch_of_conditions() -> None:
    obj = {"status": {"conditions": [{"type": "Ready", "status": "False", "reason": "x"}]}}
    patch = {"status": {"conditions": [{"type": "Ready", "status": "True"}, {"type": "Disk"}]}}
    patched = apply_strategic_patch(obj, patch, COMMON)
    assert patched["status"]["conditions"] == [
        {"type": "Ready", "status": "True", "reason": "x"},
        {"type": "Disk"},
    ]


def test_strategic_patch_faults() -> None:
    with pytest.raises(ApiError, match="merge key 'name'"):
        apply_strategic_patch(containers("a"), {"spec": {"containers": [{"image": "x"}]}}, PODS)
    with pytest.raises(ApiError, match="unknown patch directive"):
        apply_strategic_patch({}, {"spec": {"$patch": "twist"}}, PODS)


@pytest.mark.parametrize(
    ("media_type", "custom", "code"),
    [
        ("application/apply-patch+yaml", False, 415),
        ("application/strategic-merge-patch+json", True, 415),
        ("application/json", False, 415),
        ("application/json-patch+json", False, 400),
    ],
)
def test_kinds_of_patches_that_are_refused(media_type: str, custom: bool, code: int) -> None:
    with pytest.raises(ApiError) as raised:
        apply(media_type, {}, {"a": 1}, custom=custom, merge_keys={})
    assert raised.value.code == code


@pytest.mark.parametrize(
    "patch",
    [
        {"spec": {"$retainKeys": None}},
        {"$patch": [1]},
        {"$patch": {}},
        {"metadata": {"finalizers": [{}], "$setElementOrder/finalizers": [{}, []]}},
        {"status": {"conditions": [{"type": {}}], "$setElementOrder/conditions": [{"type": []}]}},
        {"status": {"conditions": ["x"]}},
    ],
)
def test_directives_of_a_wrong_type_are_the_clients_fault(patch: Any) -> None:
    obj = {"metadata": {"finalizers": ["a"]}, "spec": {"a": 1}, "status": {"conditions": ["x", 5]}}
    with contextlib.suppress(ApiError):
        apply("application/strategic-merge-patch+json", obj, patch, custom=False, merge_keys=COMMON)


def test_keys_to_retain_are_a_list() -> None:
    with pytest.raises(ApiError) as raised:
        apply(
            "application/strategic-merge-patch+json",
            {"spec": {"a": 1}},
            {"spec": {"$retainKeys": 5}},
            custom=False,
            merge_keys=COMMON,
        )
    assert raised.value.code == 400
