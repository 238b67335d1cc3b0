from __future__ import annotations

import pytest

from modules.apiserver.meta.selectors import Selector, parse_fields, parse_labels
from modules.apiserver.meta.status import ApiError

LABELS = {"app": "web", "tier": "front", "example.com/size": "3", "empty": ""}


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("", True),
        ("app=web", True),
        ("app==web", True),
        ("app = web , tier=front", True),
        ("app=web,tier=back", False),
        ("app!=web", False),
        ("missing!=web", True),
        ("app in (web, db)", True),
        ("app in (db)", False),
        ("app notin (db)", True),
        ("missing notin (db)", True),
        ("app notin (web)", False),
        ("app", True),
        ("missing", False),
        ("!missing", True),
        ("!app", False),
        ("example.com/size>2", True),
        ("example.com/size<3", False),
        ("app>2", False),
        ("empty=", True),
        ("app in (web),tier notin (back),!missing", True),
        ("in in (x)", False),
    ],
)
def test_labels(text: str, matches: bool) -> None:
    assert Selector(parse_labels(text)).matches(LABELS, {}) is matches


@pytest.mark.parametrize("text", ["=", "a=b=c", "a in b", "a b", "a>x", ",", "a=(b)", "!", "a,,b"])
def test_bad_label_selectors(text: str) -> None:
    with pytest.raises(ApiError) as raised:
        parse_labels(text)
    assert raised.value.code == 400


def test_fields() -> None:
    supported = frozenset({"spec.nodeName", "status.phase"})
    fields = {"spec.nodeName": "n1"}
    assert Selector((), parse_fields("spec.nodeName=n1", supported)).matches({}, fields)
    assert Selector((), parse_fields("spec.nodeName==n1,status.phase!=Failed", supported)).matches(
        {}, fields
    )
    assert not Selector((), parse_fields("spec.nodeName!=n1", supported)).matches({}, fields)
    assert Selector((), parse_fields("status.phase=", supported)).matches({}, fields)
    with pytest.raises(ApiError, match="field label not supported"):
        parse_fields("spec.color=red", supported)
    with pytest.raises(ApiError, match="can't understand"):
        parse_fields("spec.nodeName", supported)
