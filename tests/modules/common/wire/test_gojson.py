"""JSON in Go's form. Expected texts are what encoding/json of Go 1.12 (v1.1's) writes."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modules.common.wire.gojson import dumps


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        ({"b": 1, "a": {"d": [], "c": {}}}, '{"a":{"c":{},"d":[]},"b":1}'),
        ("<a href='x'>&", r'''"\u003ca href='x'\u003e\u0026"'''),
        ("\u2028\u2029", r'"\u2028\u2029"'),
        *((each, f'"\\u{ord(each):04x}"') for each in "<>&\u2028\u2029\b\f\x01"),
        ('\n\r\t"\\/', r'"\n\r\t\"\\/"'),
        ("\x00\x08\x0c\x1f\x7f", '"\\u0000\\u0008\\u000c\\u001f\x7f"'),
        ("\\b\\f", r'"\\b\\f"'),
        ("größe 世界 😀", '"größe 世界 😀"'),
        (b"abc", '"YWJj"'),
        (1.0, "1"),
        (-0.0, "-0"),
        (0.0, "0"),
        (1.5, "1.5"),
        (1e20, "100000000000000000000"),
        (1e21, "1e+21"),
        (1.25e22, "1.25e+22"),
        (123456789012345680.0, "123456789012345680"),
        (0.00001, "0.00001"),
        (-0.0000123, "-0.0000123"),
        (1e-6, "0.000001"),
        (1e-7, "1e-7"),
        (-1.5e-10, "-1.5e-10"),
        (5e-324, "5e-324"),
        (9223372036854775807, "9223372036854775807"),
        (
            {"image": "nginx:1.50,x:1e5", "n": [1.0, 2.50]},
            '{"image":"nginx:1.50,x:1e5","n":[1,2.5]}',
        ),
        ({"1.0": 2.0, '"': ":3.0"}, r'{"\"":":3.0","1.0":2}'),
    ],
)
def test_as_go_writes_it(value: Any, text: str) -> None:
    assert dumps(value).decode() == text


def test_keys_are_sorted_by_their_utf8() -> None:
    keys = ["z", "a", "B", "é", "😀", "\uffff", ""]
    expected = sorted(keys, key=str.encode)
    assert list(json.loads(dumps(dict.fromkeys(keys)))) == expected


@pytest.mark.parametrize("value", [{1: 2}, {"a": object()}, "\ud800"])
def test_what_json_cannot_say_is_an_error(value: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        dumps(value)


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("wrap", [lambda n: n, lambda n: [1, (n,)], lambda n: {"a": {"b": [n]}}])
def test_no_number_becomes_null(number: float, wrap: Callable[[float], Any]) -> None:
    with pytest.raises(ValueError, match="NaN and infinity"):
        dumps(wrap(number))
    with pytest.raises(ValueError, match="NaN and infinity"):
        dumps([2**70, wrap(number), None])


@pytest.mark.parametrize("other", [1.5, 2**70, "\x7f\xf0", b"\xcb\x7f\xf8", {"\xcb\xff\xf8": 1}])
def test_null_may_stand_beside_anything(other: Any) -> None:
    assert dumps([None, other]) == b"[null," + dumps(other) + b"]"


def test_a_circle_is_an_error() -> None:
    circle: list[Any] = []
    circle.append(circle)
    with pytest.raises(RecursionError):
        dumps(circle)


json_like = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(-1e15, 1e15)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner),
    max_leaves=20,
)


@given(json_like)
def test_reads_back_as_the_same_value(value: Any) -> None:
    data = dumps(value)
    assert json.loads(data) == value
    assert not {b"<", b">", b"&"} & {data[i : i + 1] for i in range(len(data))}


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_float_has_its_shortest_digits(value: float) -> None:
    text = dumps(value).decode()
    assert float(text) == value
    assert math.copysign(1, float(text)) == math.copysign(1, value)
    assert not text.endswith(".0")
    assert ("e" in text) == (value != 0 and not 1e-6 <= abs(value) < 1e21)


def test_short_escapes_as_go_writes_them_since_1_22() -> None:
    value = {"a": "\b\f\u2028<", "b": 1e21, "c": "1.0\b"}
    assert dumps(value, short_escapes=True) == (rb'{"a":"\b\f\u2028\u003c","b":1e+21,"c":"1.0\b"}')
    assert rb"\u0008\u000c" in dumps(value)
