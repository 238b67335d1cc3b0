"""What an edge may send: any JSON, any bytes, and what is almost right."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import strategies as st

from tests.support.mutations import MISSING, VALUES, changed, places

json: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)

names = st.sampled_from(["x", "..", ".", "a/b", "%2e", "n" * 300, "", "\0", "é"]) | st.text(
    max_size=10
)


def almost(valid: Any) -> st.SearchStrategy[Any]:
    """Give a valid content with some of its fields made something else."""

    def change(changes: list[tuple[tuple[str | int, ...], Any]]) -> Any:
        made = valid
        for path, value in changes:
            try:
                made = changed(made, path, value)
            except (KeyError, IndexError, TypeError, ValueError):
                continue  # what an earlier change has left has no such place
        return made

    one = st.tuples(
        st.sampled_from(list(places(valid))),
        st.sampled_from([value for value in VALUES if value != 10**30 or value is MISSING]) | json,
    )
    return st.lists(one, max_size=3).map(change)


def contents(*valid: Any) -> st.SearchStrategy[Any]:
    """Give contents as cloudhub passes them on: bytes of an edge, or JSON-like."""
    right = st.one_of(*map(almost, valid))
    return st.one_of(st.binary(max_size=100), json, right.map(msgspec.json.encode), right)
