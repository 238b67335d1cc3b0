"""Strategic merge patches of Node and Pod statuses, as a kubelet computes them.

After k8s.io/apimachinery/pkg/util/strategicpatch (CreateTwoWayMergePatch). The addresses of a Node,
which kubelet replaces as a whole, do not change here.
"""

from __future__ import annotations

from typing import Any, Final

Json = dict[str, Any]

#: Lists that are merged by a key of their elements (patchMergeKey); all others are replaced.
_MERGE_KEYS: Final = {"conditions": "type", "podIPs": "ip", "hostIPs": "ip"}


def difference(old: Json, new: Json) -> Json:
    """Return the patch that makes `new` of `old`; it is empty if they are equal."""
    patch: Json = {key: None for key in old if key not in new}
    for key, value in new.items():
        if key not in old:
            patch[key] = value
        elif old[key] != value:
            patch |= _of_field(key, old[key], value)
    return patch


def _of_field(key: str, old: Any, new: Any) -> Json:
    if isinstance(old, dict) and isinstance(new, dict):
        return {key: difference(old, new)}
    merge_key = _MERGE_KEYS.get(key)
    if merge_key is None or not isinstance(old, list) or not isinstance(new, list):
        return {key: new}
    before = {element[merge_key]: element for element in old}
    after = {element[merge_key]: element for element in new}
    changed = [
        difference(before.get(name, {}), element) | {merge_key: name}
        for name, element in after.items()
        if before.get(name) != element
    ]
    removed = [{"$patch": "delete", merge_key: name} for name in before if name not in after]
    patch: Json = {f"$setElementOrder/{key}": [{merge_key: name} for name in after]}
    if changed or removed:
        patch[key] = changed + removed
    return patch
