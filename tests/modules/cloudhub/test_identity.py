from __future__ import annotations

import ssl
from datetime import datetime
from http import HTTPStatus
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from modules.cloudhub.endpoint.identity import _MONTHS, HandshakeRefused, _seconds, identify


def certificate(*names: str) -> dict[str, Any]:
    subject = [(("organizationName", "system:nodes"),), *((("commonName", n),) for n in names)]
    return {"subject": tuple(subject), "notAfter": "Nov 24 06:00:00 2027 GMT"}


def headers(*nodes: str) -> CIMultiDict[str]:
    return CIMultiDict([("Node_id", node) for node in nodes])


@pytest.mark.parametrize("name", ["system:node:edge.1", "edge.1"])
def test_kubelet_s_name_and_the_plain_one_are_accepted(name: str) -> None:
    identity = identify(b"/p/edge.1/events", headers("edge.1"), certificate(name), strict=True)
    assert identity.node == "edge.1"
    assert identity.common_name == name
    assert identity.expires == 1827036000


@pytest.mark.parametrize(
    "names", [(), ("",), ("edge-2",), ("system:nodes:edge-1",), ("edge-1", "edge-2"), ("EDGE-1",)]
)
def test_other_names_are_not(names: tuple[str, ...]) -> None:
    with pytest.raises(HandshakeRefused, match="does not speak for node 'edge-1'") as refused:
        identify(b"/p/edge-1/events", headers("edge-1"), certificate(*names), strict=True)
    assert refused.value.status is HTTPStatus.FORBIDDEN
    identify(b"/p/edge-1/events", headers("edge-1"), certificate(*names), strict=False)


def test_a_header_given_twice_says_nothing() -> None:
    with pytest.raises(HandshakeRefused, match="the header node_id 'edge-1 and edge-2'"):
        identify(
            b"/p/edge-1/events", headers("edge-1", "edge-2"), certificate("edge-1"), strict=True
        )


@pytest.mark.parametrize("path", [b"/p/edge%2d1/events", b"/p/\xff/events", b"/p/a\x00/events"])
def test_a_name_is_taken_as_it_is_written(path: bytes) -> None:
    with pytest.raises(HandshakeRefused):
        identify(path, headers("edge-1"), certificate("edge-1"), strict=True)


@given(st.datetimes(min_value=datetime(1950, 1, 1), max_value=datetime(9999, 12, 31)))  # noqa: DTZ001
def test_a_certificate_s_end_is_read_as_ssl_reads_it(end: datetime) -> None:
    month = _MONTHS[3 * end.month - 3 : 3 * end.month]
    text = f"{month} {end.day:2} {end:%H:%M:%S} {end.year} GMT"
    assert _seconds(text) == ssl.cert_time_to_seconds(text)
