"""Resource strings: what a message is about, and for which node.

Inside the cloud a message's resource is `node/{node}/{rest}`; on the way to the edge CloudHub
strips `node/{node}/`, on the way up it prepends it (cloud/pkg/cloudhub/handler/eventhandler.go).
The rest is `{namespace}/{type}[/{name}]` for Kubernetes objects
(cloud/pkg/edgecontroller/messagelayer/util.go), and a path of its own for twin messages
(cloud/pkg/devicecontroller/messagelayer/util.go).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

NODE: Final = "node"
DEVICE: Final = "device"

MEMBERSHIP: Final = "membership"
MEMBERSHIP_DETAIL: Final = "membership/detail"
TWIN_CLOUD_UPDATED: Final = "twin/cloud_updated"
TWIN_EDGE_UPDATED: Final = "twin/edge_updated"
STATE: Final = "state"


class BadResource(ValueError):
    """A resource string that does not name what is asked of it; the text shows the string."""


@dataclass(frozen=True, slots=True)
class ObjectResource:
    """A Kubernetes object, or a list of one type (no name), on a node."""

    node: str
    namespace: str
    type: str
    name: str = ""

    def __str__(self) -> str:
        return build(self.node, self.namespace, self.type, self.name)

    @property
    def at_edge(self) -> str:
        """The same as the edge sees it: without the node."""
        return edge_resource(str(self))


@dataclass(frozen=True, slots=True)
class DeviceResource:
    """One aspect of a device on a node, such as `twin/edge_updated` or `state`."""

    node: str
    device: str
    aspect: str

    def __str__(self) -> str:
        return build_device(self.node, self.device, self.aspect)


def build(node: str, namespace: str, type: str, name: str = "") -> str:  # noqa: A002 - KubeEdge's word
    """`node/{node}/{namespace}/{type}[/{name}]`; BadResource if a part is empty or has a slash."""
    parts = {"node": node, "namespace": namespace, "resource type": type}
    if name:
        parts["name"] = name
    return "/".join((NODE, *_checked(parts)))


def build_device(node: str, device: str, aspect: str) -> str:
    """`node/{node}/device/{device}/{aspect}`, for TWIN_CLOUD_UPDATED and its like."""
    parts = _checked({"node": node, "device": device})
    return "/".join((NODE, parts[0], DEVICE, parts[1], aspect))


def build_membership(node: str) -> str:
    """`node/{node}/membership`: which devices a node has."""
    return "/".join((NODE, *_checked({"node": node}), MEMBERSHIP))


def node_of(resource: str) -> str:
    """The node of a cloud-side resource string; BadResource if it names none."""
    return _split(resource)[0]


def edge_resource(resource: str) -> str:
    """Strip `node/{node}/`, as CloudHub does on the way to the edge.

    A resource that is about the node itself (`node/{node}`) has no edge side: BadResource.
    """
    rest = _split(resource)[1]
    if not rest:
        raise BadResource(f"resource {resource!r} has nothing after the node")
    return rest


def cloud_resource(node: str, resource: str) -> str:
    """Prepend `node/{node}/`, as CloudHub does with what comes from the edge."""
    return "/".join((NODE, *_checked({"node": node}), resource))


def parse(resource: str) -> ObjectResource:
    """Read `node/{node}/{namespace}/{type}[/{name}]`; BadResource for anything else.

    A name may itself contain slashes, since KubeEdge names some things by a path.
    """
    node, rest = _split(resource)
    parts = rest.split("/", 2)
    if len(parts) < 2 or not all(parts):
        raise BadResource(
            f"resource {resource!r} is not node/{{node}}/{{namespace}}/{{type}}[/{{name}}]"
        )
    return ObjectResource(node, *parts)


def parse_device(resource: str) -> DeviceResource:
    """Read `node/{node}/device/{device}/{aspect}`; BadResource for anything else."""
    node, rest = _split(resource)
    parts = rest.split("/", 2)
    if len(parts) < 3 or parts[0] != DEVICE or not all(parts):
        raise BadResource(f"resource {resource!r} is not node/{{node}}/device/{{device}}/…")
    return DeviceResource(node, parts[1], parts[2])


def _split(resource: str) -> tuple[str, str]:
    """Split a cloud-side resource into the node and what follows it."""
    prefix, _, rest = resource.partition("/")
    node, _, rest = rest.partition("/")
    if prefix != NODE or not node:
        raise BadResource(f"resource {resource!r} does not start with node/{{node}}")
    return node, rest


def _checked(parts: dict[str, str]) -> list[str]:
    for what, value in parts.items():
        if not value:
            raise BadResource(f"a resource needs a {what}, got {parts}")
        if "/" in value:
            raise BadResource(f"{what} {value!r} of a resource must not contain a slash")
    return list(parts.values())
