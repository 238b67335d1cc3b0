"""Names that a Node can have in the Kubernetes API, and no others."""

from __future__ import annotations

from http import HTTPStatus

import pytest
from multidict import CIMultiDict

from modules.cloudhub.endpoint.identity import HandshakeRefused, identify
from modules.common.dns_names import is_subdomain
from modules.common.host_port import host_port
from modules.common.pki.certificates import check_node_name


@pytest.mark.parametrize("name", ["a", "edge-1", "edge.1", "1", "a--b.c", "a" * 253])
def test_a_subdomain(name: str) -> None:
    assert is_subdomain(name)


@pytest.mark.parametrize("name", ["", "-a", "a-", ".", "a..b", "a.-b", "a-.b", "A", "a_b", "a\n"])
def test_no_subdomain(name: str) -> None:
    assert not is_subdomain(name)


def test_it_has_at_most_253_characters() -> None:
    assert not is_subdomain("a" * 254)


def test_a_name_that_no_node_can_have_gets_no_certificate_and_no_session() -> None:
    with pytest.raises(ValueError, match="cannot be a node's name"):
        check_node_name("edge..1")
    subject = {"subject": ((("commonName", "edge..1"),),)}
    headers = CIMultiDict([("node_id", "edge..1")])
    with pytest.raises(HandshakeRefused, match="cannot be a node's name") as refused:
        identify(b"/p/edge..1/events", headers, subject, strict=True)
    assert refused.value.status is HTTPStatus.BAD_REQUEST


def test_an_address_of_ipv6_stands_in_brackets() -> None:
    assert host_port("edge.example", 1) == "edge.example:1"
    assert host_port("::1", 1) == "[::1]:1"
