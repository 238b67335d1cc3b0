"""Resource strings: what a message is about, and for which node.

Inside the cloud a message's resource is `node/{node}/{rest}`; on the way to the edge CloudHub
strips `node/{node}/`, on the way up it prepends it (cloud/pkg/cloudhub/handler/eventhandler.go).
The rest is `{namespace}/{type}[/{name}]` for Kubernetes objects
(cloud/pkg/edgecontroller/messagelayer/util.go), and a path of its own for twin messages
(cloud/pkg/devicecontroller/messagelayer/util.go).
"""

from __future__ import annotations

from typing import Final, NamedTuple

NODE: Final = "node"
DEVICE: Final = "device"

MEMBERSHIP: Final = "membership"
MEMBERSHIP_DETAIL: Final = "membership/detail"
TWIN_CLOUD_UPDATED: Final = "twin/cloud_updated"
TWIN_EDGE_UPDATED: Final = "twin/edge_updated"
STATE: Final = "state"


#: What the parts of a resource are called.
_OBJECT_PARTS: Final = ("prefix", "node", "namespace", "resource type", "name")
_DEVICE_PARTS: Final = ("prefix", "node", "prefix", "device")


#: Steps of a path, which a URL is rid of: no name of an object, and no part of a request for one.
_STEPS: Final = frozenset((".", ".."))


class BadResource(ValueError):
    """A resource string that does not name what is asked of it; the text shows the string."""


class ObjectResource(NamedTuple):
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


class DeviceResource(NamedTuple):
    """One aspect of a device on a node, such as `twin/edge_updated` or `state`."""

    node: str
    device: str
    aspect: str

    def __str__(self) -> str:
        return build_device(self.node, self.device, self.aspect)


def build(node: str, namespace: str, type: str, name: str = "") -> str:  # noqa: A002 - KubeEdge's word
    """`node/{node}/{namespace}/{type}[/{name}]`; BadResource if a part is empty or has a slash."""
    parts = (NODE, node, namespace, type, name) if name else (NODE, node, namespace, type)
    return _joined(parts, _OBJECT_PARTS)


def build_device(node: str, device: str, aspect: str) -> str:
    """`node/{node}/device/{device}/{aspect}`, for TWIN_CLOUD_UPDATED and its like."""
    return f"{_joined((NODE, node, DEVICE, device), _DEVICE_PARTS)}/{aspect}"


def build_membership(node: str) -> str:
    """`node/{node}/membership`: which devices a node has."""
    return f"{_joined((NODE, node), _OBJECT_PARTS)}/{MEMBERSHIP}"


def node_of(resource: str) -> str:
    """The node of a cloud-side resource string; BadResource if it names none."""
    return split(resource)[0]


def split(resource: str) -> tuple[str, str]:
    """Split a cloud-side resource into the node and what follows it, if anything does.

    BadResource if it names no node.
    """
    prefix, _, rest = resource.partition("/")
    node, _, rest = rest.partition("/")
    if prefix != NODE or not node:
        raise BadResource(f"resource {resource!r} does not start with node/{{node}}")
    return node, rest


def edge_resource(resource: str) -> str:
    """Strip `node/{node}/`, as CloudHub does on the way to the edge.

    A resource that is about the node itself (`node/{node}`) has no edge side: BadResource.
    """
    rest = split(resource)[1]
    if not rest:
        raise BadResource(f"resource {resource!r} has nothing after the node")
    return rest


def cloud_resource(node: str, resource: str) -> str:
    """Prepend `node/{node}/`, as CloudHub does with what comes from the edge."""
    return f"{_joined((NODE, node), _OBJECT_PARTS)}/{resource}"


def parse(resource: str) -> ObjectResource:
    """Read `node/{node}/{namespace}/{type}[/{name}]`; BadResource for anything else.

    A name may itself contain slashes, since KubeEdge names some things by a path.
    """
    prefix, *parts = resource.split("/", 4)
    if prefix != NODE or len(parts) < 3 or not all(parts) or not _STEPS.isdisjoint(parts):
        raise BadResource(
            f"resource {resource!r} is not node/{{node}}/{{namespace}}/{{type}}[/{{name}}]"
        )
    return ObjectResource(*parts)


def parse_device(resource: str) -> DeviceResource:
    """Read `node/{node}/device/{device}/{aspect}`; BadResource for anything else."""
    prefix, *parts = resource.split("/", 4)
    if prefix != NODE or len(parts) < 4 or parts[1] != DEVICE or not all(parts):
        raise BadResource(f"resource {resource!r} is not node/{{node}}/device/{{device}}/…")
    node, _, device, aspect = parts
    return DeviceResource(node, device, aspect)


def _joined(parts: tuple[str, ...], names: tuple[str, ...]) -> str:
    """Join parts to a resource; BadResource says by its name which one cannot be in one."""
    resource = "/".join(parts)
    if all(parts) and resource.count("/") < len(parts):
        return resource
    name, part = next((n, p) for n, p in zip(names, parts, strict=False) if not p or "/" in p)
    what = "must not contain a slash" if part else "is missing"
    raise BadResource(f"{name} {part!r} of resource {resource!r} {what}")
