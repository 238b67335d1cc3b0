from __future__ import annotations

import pytest

from modules.common import message_resource
from modules.common.message_resource import BadResource, DeviceResource, ObjectResource


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("node/e1/default/pod/p1", ObjectResource("e1", "default", "pod", "p1")),
        ("node/e1/default/podlist", ObjectResource("e1", "default", "podlist")),
        ("node/e1/default/nodestatus/e1", ObjectResource("e1", "default", "nodestatus", "e1")),
        ("node/e1/ns/volume/a/b", ObjectResource("e1", "ns", "volume", "a/b")),
    ],
)
def test_parse(text: str, parsed: ObjectResource) -> None:
    assert message_resource.parse(text) == parsed


@pytest.mark.parametrize(
    "text",
    ["", "node", "node/", "node//default/pod/p1", "default/pod/p1", "node/e1", "node/e1/default",
     "node/e1/default/", "node/e1/default/pod/", "node/e1//pod/p1", "nodes/e1/default/pod"],
)  # fmt: skip
def test_parse_refuses(text: str) -> None:
    with pytest.raises(BadResource) as raised:
        message_resource.parse(text)
    assert repr(text) in str(raised.value)


def test_build_is_the_inverse_of_parse() -> None:
    for text in ("node/e1/default/pod/p1", "node/größe/ns/servicelist"):
        assert str(message_resource.parse(text)) == text
    assert message_resource.parse("node/e1/default/pod/p1").at_edge == "default/pod/p1"


@pytest.mark.parametrize(
    "parts", [("", "ns", "pod"), ("n", "", "pod"), ("n", "ns", ""), ("a/b", "ns", "pod", "x")]
)
def test_build_refuses(parts: tuple[str, ...]) -> None:
    with pytest.raises(BadResource):
        message_resource.build(*parts)


def test_a_name_may_not_smuggle_in_another_part() -> None:
    with pytest.raises(BadResource, match="name 'a/b'"):
        message_resource.build("n", "ns", "pod", "a/b")


def test_node_and_edge_side() -> None:
    assert message_resource.node_of("node/e1") == "e1"
    assert message_resource.node_of("node/e1/membership/detail") == "e1"
    assert message_resource.edge_resource("node/e1/membership/detail") == "membership/detail"
    assert message_resource.cloud_resource("e1", "default/pod/p1") == "node/e1/default/pod/p1"
    with pytest.raises(BadResource, match="nothing after the node"):
        message_resource.edge_resource("node/e1")
    with pytest.raises(BadResource):
        message_resource.node_of("membership")
    with pytest.raises(BadResource):
        message_resource.cloud_resource("", "default/pod/p1")


def test_devices() -> None:
    text = message_resource.build_device("e1", "led", message_resource.TWIN_EDGE_UPDATED)
    assert text == "node/e1/device/led/twin/edge_updated"
    assert message_resource.parse_device(text) == DeviceResource(
        "e1", "led", message_resource.TWIN_EDGE_UPDATED
    )
    assert str(message_resource.parse_device(text)) == text
    assert message_resource.build_membership("e1") == "node/e1/membership"
    for bad in ("node/e1/membership", "node/e1/device/led", "node/e1/device//state", "device/a/b"):
        with pytest.raises(BadResource):
            message_resource.parse_device(bad)
