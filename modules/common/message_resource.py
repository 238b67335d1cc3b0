"""Resource strings of messages: the node, and the object that the message is about.

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


#: The names of the parts of a resource, for error messages.
_OBJECT_PARTS: Final = ("prefix", "node", "namespace", "resource type", "name")
_DEVICE_PARTS: Final = ("prefix", "node", "prefix", "device")


#: Path segments that URL normalization removes: they cannot be part of a name or a request.
_STEPS: Final = frozenset((".", ".."))


class BadResource(ValueError):
    """A resource string without the expected parts; the message contains the string."""


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
        """The resource string on the edge: without the node."""
        return edge_resource(str(self))


class DeviceResource(NamedTuple):
    """One aspect of a device on a node, such as `twin/edge_updated` or `state`."""

    node: str
    device: str
    aspect: str

    def __str__(self) -> str:
        return build_device(self.node, self.device, self.aspect)


def build(node: str, namespace: str, type: str, name: str = "") -> str:  # noqa: A002 - KubeEdge's word
    """Return `node/{node}/{namespace}/{type}[/{name}]`; raises BadResource for an invalid part."""
    parts = (NODE, node, namespace, type, name) if name else (NODE, node, namespace, type)
    return _joined(parts, _OBJECT_PARTS)


def build_device(node: str, device: str, aspect: str) -> str:
    """Return `node/{node}/device/{device}/{aspect}`, such as for TWIN_CLOUD_UPDATED."""
    return f"{_joined((NODE, node, DEVICE, device), _DEVICE_PARTS)}/{aspect}"


def build_membership(node: str) -> str:
    """Return `node/{node}/membership`, the resource of a node's list of devices."""
    return f"{_joined((NODE, node), _OBJECT_PARTS)}/{MEMBERSHIP}"


def node_of(resource: str) -> str:
    """Return the node of a cloud-side resource string; raises BadResource if there is none."""
    return split(resource)[0]


def split(resource: str) -> tuple[str, str]:
    """Split a cloud-side resource into the node and the rest, which may be empty.

    Raises BadResource if it names no node.
    """
    prefix, _, rest = resource.partition("/")
    node, _, rest = rest.partition("/")
    if prefix != NODE or not node:
        raise BadResource(f"resource {resource!r} does not start with node/{{node}}")
    return node, rest


def edge_resource(resource: str) -> str:
    """Strip `node/{node}/`, as CloudHub does on the way to the edge.

    Raises BadResource for the node itself (`node/{node}`), which has no edge-side resource.
    """
    rest = split(resource)[1]
    if not rest:
        raise BadResource(f"resource {resource!r} has nothing after the node")
    return rest


def cloud_resource(node: str, resource: str) -> str:
    """Prepend `node/{node}/`, as CloudHub does with messages from the edge."""
    return f"{_joined((NODE, node), _OBJECT_PARTS)}/{resource}"


def parse(resource: str) -> ObjectResource:
    """Parse `node/{node}/{namespace}/{type}[/{name}]`; raises BadResource for anything else.

    A name may itself contain slashes, since KubeEdge names some things by a path.
    """
    prefix, *parts = resource.split("/", 4)
    if prefix != NODE or len(parts) < 3 or not all(parts) or not _STEPS.isdisjoint(parts):
        raise BadResource(
            f"resource {resource!r} is not node/{{node}}/{{namespace}}/{{type}}[/{{name}}]"
        )
    return ObjectResource(*parts)


def parse_device(resource: str) -> DeviceResource:
    """Parse `node/{node}/device/{device}/{aspect}`; raises BadResource for anything else."""
    prefix, *parts = resource.split("/", 4)
    if prefix != NODE or len(parts) < 4 or parts[1] != DEVICE or not all(parts):
        raise BadResource(f"resource {resource!r} is not node/{{node}}/device/{{device}}/…")
    node, _, device, aspect = parts
    return DeviceResource(node, device, aspect)


def _joined(parts: tuple[str, ...], names: tuple[str, ...]) -> str:
    """Join parts to a resource; raises BadResource, which names the part that is invalid."""
    resource = "/".join(parts)
    if all(parts) and resource.count("/") < len(parts):
        return resource
    name, part = next((n, p) for n, p in zip(names, parts, strict=False) if not p or "/" in p)
    what = "must not contain a slash" if part else "is missing"
    raise BadResource(f"{name} {part!r} of resource {resource!r} {what}")
