"""Strategic merge patch: a merge patch with rules for the merging of lists.

It follows k8s.io/apimachinery/pkg/util/strategicpatch and its description in
contributors/devel/sig-api-machinery/strategic-merge-patch.md. `kubectl apply`, `edit`
and `label` send it for built-in kinds.

| in the patch                        | means                                                   |
|-------------------------------------|---------------------------------------------------------|
| `$patch: replace` in a map          | the map becomes the rest of the patch                   |
| `$patch: delete` in a map           | the map becomes empty                                   |
| `$patch: replace` as an item        | the list becomes the other items                        |
| `$patch: delete` in an item         | the item with that key goes                             |
| `$deleteFromPrimitiveList/F: [...]` | these values leave the list F                           |
| `$setElementOrder/F: [...]`         | the order of the list F                                 |
| `$retainKeys: [...]`                | every other key of the map goes                         |
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Hashable, Iterable, Mapping
from typing import Any

import msgspec

from modules.apiserver.meta.objects import Json
from modules.apiserver.meta.status import bad_request

MergeKeys = Mapping[tuple[str, ...], str]

_DIRECTIVE = "$patch"
_RETAIN = "$retainKeys"
_DELETE_VALUES = "$deleteFromPrimitiveList/"
_SET_ORDER = "$setElementOrder/"


def apply_strategic_patch(obj: Json, patch: Json, merge_keys: MergeKeys) -> Json:
    """Return `obj` with `patch` applied; maps of `obj` are changed in place.

    `merge_keys` maps the path of each list that is merged to the key of its items. Raises
    ApiError (400) for a patch that does not match it.
    """
    return _merge_map(obj, patch, (), merge_keys)


def _merge_map(target: Json, patch: Json, path: tuple[str, ...], keys: MergeKeys) -> Json:
    directive = patch.get(_DIRECTIVE)
    if directive == "replace":
        return {key: value for key, value in patch.items() if key != _DIRECTIVE}
    if directive == "delete":
        return {}
    if directive not in (None, "merge"):
        raise bad_request(f"unknown patch directive {directive!r} at {_name(path)}")
    if _RETAIN in patch:
        target = {key: value for key, value in target.items() if key in patch[_RETAIN]}
    for key, value in patch.items():
        if key.startswith(_DELETE_VALUES):
            _delete_values(target, key.removeprefix(_DELETE_VALUES), value)
        elif not key.startswith("$"):
            _merge_member(target, key, value, (*path, key), keys)
    for key, order in patch.items():
        if key.startswith(_SET_ORDER):
            field = key.removeprefix(_SET_ORDER)
            _set_order(target, field, order, (*path, field), keys)
    return target


def _merge_member(
    target: Json, key: str, value: Any, path: tuple[str, ...], keys: MergeKeys
) -> None:
    if value is None:
        target.pop(key, None)
    elif isinstance(value, dict):
        before = target.get(key)
        target[key] = _merge_map(before if isinstance(before, dict) else {}, value, path, keys)
    elif isinstance(value, list) and path in keys:
        before = target.get(key)
        target[key] = _merge_list(before if isinstance(before, list) else [], value, path, keys)
    elif isinstance(value, list):
        target[key] = _without_directives(value)
    else:
        target[key] = value


def _merge_list(
    target: list[Any], patch: list[Any], path: tuple[str, ...], keys: MergeKeys
) -> list[Any]:
    merge_key = keys[path]
    if not merge_key:
        return _union(target, patch)
    if any(isinstance(item, dict) and item == {_DIRECTIVE: "replace"} for item in patch):
        return [item for item in patch if item != {_DIRECTIVE: "replace"}]
    # By index, so that a deletion does not move the other items; a key found more than
    # once is merged into its first item, and deleted as a whole.
    merged: dict[int, Any] = dict(enumerate(target))
    places: defaultdict[Hashable, list[int]] = defaultdict(list)
    for place, item in merged.items():
        if isinstance(item, dict):
            places[_identity(item.get(merge_key))].append(place)
    free = len(target)
    for item in patch:
        if not isinstance(item, dict) or merge_key not in item:
            raise bad_request(
                f"the patch's list {_name(path)} has an item without its merge key {merge_key!r}"
            )
        found = places[_identity(item[merge_key])]
        if item.get(_DIRECTIVE) == "delete":
            for place in found:
                del merged[place]
            found.clear()
        elif found:
            merged[found[0]] = _merge_map(merged[found[0]], item, path, keys)
            # `$patch: replace` in an item replaces everything except its merge key.
            merged[found[0]].setdefault(merge_key, item[merge_key])
        else:
            merged[free] = _merge_map({}, item, path, keys)
            found.append(free)
            free += 1
    return list(merged.values())


def _union(target: list[Any], patch: list[Any]) -> list[Any]:
    present = set(map(_identity, target))
    return target + [value for value in patch if _identity(value) not in present]


def _identity(value: Any) -> Hashable:
    """Return a hashable value that is equal only for equal JSON values."""
    if isinstance(value, dict | list):
        return type(value), msgspec.json.encode(value, order="sorted")
    return type(value) is bool, value


def _delete_values(target: Json, field: str, values: Any) -> None:
    if isinstance(target.get(field), list) and isinstance(values, list):
        gone = set(map(_identity, values))
        target[field] = [value for value in target[field] if _identity(value) not in gone]


def _set_order(
    target: Json, field: str, order: Any, path: tuple[str, ...], keys: MergeKeys
) -> None:
    """Sort the items that `order` names into that order.

    Unnamed items keep their position relative to the named items that preceded them.
    """
    items = target.get(field)
    if path not in keys or not isinstance(items, list) or not isinstance(order, list):
        return
    merge_key = keys[path]

    def identity(item: Any) -> Hashable:
        return _identity(item.get(merge_key) if merge_key and isinstance(item, dict) else item)

    wanted = _first_places(map(identity, order))
    known = list(map(identity, items))
    before = _first_places(known)
    # (previous index, item), in the wanted order
    named = deque(
        (before[key], item)
        for key, item in sorted(
            ((key, item) for key, item in zip(known, items, strict=True) if key in wanted),
            key=lambda pair: wanted[pair[0]],
        )
    )
    result: list[Any] = []
    for key, item in zip(known, items, strict=True):
        if key not in wanted:
            while named and named[0][0] < before[key]:
                result.append(named.popleft()[1])
            result.append(item)
    target[field] = [*result, *(item for _, item in named)]


def _first_places(identities: Iterable[Hashable]) -> dict[Hashable, int]:
    places: dict[Hashable, int] = {}
    for place, identity in enumerate(identities):
        places.setdefault(identity, place)
    return places


def _without_directives(items: list[Any]) -> list[Any]:
    return [
        item for item in items if not (isinstance(item, dict) and item.get(_DIRECTIVE) == "replace")
    ]


def _name(path: tuple[str, ...]) -> str:
    return ".".join(path) or "the top"
