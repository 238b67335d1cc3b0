"""What a node is sent about a target: decided when its turn comes, by the state in the API then."""

from __future__ import annotations

from collections.abc import Callable

from ipc import Message
from modules.common.kube import Object
from modules.common.sync.journal import Item
from modules.common.sync.record import EVERY_NODE
from modules.edgecontroller import messages
from modules.edgecontroller.downstream.due import Pending, Target
from modules.edgecontroller.downstream.state import FOR_EVERY_NODE, LISTED, State, list_of
from modules.edgecontroller.messages import DELETE, INSERT, NODE, POD, PODLIST, SECRET, UPDATE
from modules.edgecontroller.objects import (
    for_v1_1,
    for_v1_23,
    node_of,
    placeholder,
    placeholder_pod,
    uid_of,
    version_of,
)

#: The types that edges of today are sent; they get others from their metaserver.
_SENT_TODAY = frozenset((*messages.KEPT_BY_NODES, NODE))


class Decisions:
    """Decides on the messages that bring a node up to date.

    `read_node` has its Node read, and `read_whole` a configmap or secret of which there is an
    outline; what waits for these is made due again then.
    """

    def __init__(
        self, state: State, read_node: Callable[[str], None], read_whole: Callable[[Item], None]
    ) -> None:
        self._state = state
        self._read_node = read_node
        self._read_whole = read_whole

    def decide(self, target: Target, pending: Pending) -> list[Message]:
        """Return the messages that bring a node up to date with a target."""
        state = self._state
        if not state.reachable(target.node) or (pending.unless_seen and self.has_seen(target)):
            return []
        if target.type in messages.KEPT_BY_NODES and self._waits(target):
            return []
        if state.is_of_today(target.node):
            return self._decide_today(target, pending)
        if target.type == NODE:
            return []
        if target.type in LISTED:
            members = state.stores[LISTED[target.type]].values()
            return [messages.change(UPDATE, target.resource, list(members))]
        if target.type == PODLIST:
            pods = state.pods_of_service(target.namespace, target.name)
            return [] if pods is None else [messages.change(UPDATE, target.resource, pods)]
        return self._decide_v1_1(target, pending)

    def _waits(self, target: Target) -> bool:
        """Whether a node is sent an object only when more has been read."""
        if self._state.desired(target) is None:
            return False
        unread = self._state.unread(target)
        for item in unread:
            self._read_whole(item)
        return bool(unread)

    def form(self, node: str) -> Callable[[str, Object], Object]:
        """Return the function that makes of a cached object what a node gets."""
        return for_v1_23 if self._state.is_of_today(node) else for_v1_1

    def has_seen(self, target: Target) -> bool:
        """Whether a node has acknowledged the present state of a target."""
        whole = whole_of(target)
        version = self._state.version(whole)
        seen = self._state.record.seen(whole.node, whole.item)
        if target.type == NODE:
            seen = seen.partition("@")[0]  # its hash; its version changes with each heartbeat
        return bool(version) and seen == version

    def _decide_v1_1(self, target: Target, pending: Pending) -> list[Message]:
        obj = self._state.desired(target)
        told = self._state.record.uid(holder_of(target), target.item)
        if obj is None:
            return [] if self._keeps(target, told) else [_delete_v1_1(target, pending)]
        content = for_v1_1(target.type, obj)
        if target.type == POD and told is not None and told != uid_of(obj):
            # Another pod of that name: the edge would apply an update to the old one.
            insert = messages.change(INSERT, target.resource, content)
            return [_delete_v1_1(target, pending), insert]
        return [messages.change(_operation(target, pending, obj, told), target.resource, content)]

    def _decide_today(self, target: Target, pending: Pending) -> list[Message]:
        if target.type not in _SENT_TODAY:
            return []
        told = self._state.record.uid(target.node, target.item)
        if target.type == NODE:
            return self._push_node(target)
        obj = self._state.desired(target)
        replaced = target.type == POD and obj and told is not None and told != uid_of(obj)
        if obj is None or replaced:
            # Another pod of that name is sent when the node has acknowledged this delete.
            keeps = not replaced and self._keeps(target, told)
            return [] if keeps else [_delete_today(target, pending, told or "")]
        operation = _operation(target, pending, obj, told)
        content = for_v1_23(target.type, obj)
        return [messages.change(operation, target.resource, content, version_of(obj))]

    def _push_node(self, target: Target) -> list[Message]:
        """Send the node its Node, of which the cache has a part only."""
        if target.node not in self._state.reads_own_node:
            return []
        node = self._state.whole_nodes.pop(target.node, None)
        if node is None:
            self._read_node(target.node)
            return []
        self._state.sent_own_node.add(target.node)
        content = for_v1_23(NODE, node)
        return [messages.change(UPDATE, target.resource, content, version_of(node))]

    def _keeps(self, target: Target, told: str | None) -> bool:
        """Whether a node that is not to have an object is sent nothing."""
        return told is None or self._state.is_aside(target.item)


def whole_of(target: Target) -> Target:
    """Return the target whose version a node acknowledges: the list, for a member of one."""
    return list_of(target) if target.type in FOR_EVERY_NODE else target


def holder_of(target: Target) -> str:
    """Return whose row of the record is about a target."""
    return EVERY_NODE if target.type in FOR_EVERY_NODE else target.node


def _operation(target: Target, pending: Pending, obj: Object, told: str | None) -> str:
    """Choose insert or update as KubeEdge does, by what the node may have.

    A v1.1 edge stores an insert only if it has no object of that name, and an update always; it
    gives a pod its devices (GPUs) on insert alone.
    """
    if target.type in FOR_EVERY_NODE:
        return INSERT if pending.fresh else UPDATE
    if target.type == SECRET or told is not None or obj["metadata"].get("deletionTimestamp"):
        return UPDATE
    return INSERT


def _delete_v1_1(target: Target, pending: Pending) -> Message:
    # What the API still has is not for this node: a pod of another node, an unused secret.
    content = pending.last and for_v1_1(target.type, pending.last)
    if content is None:
        make = placeholder_pod if target.type == POD else placeholder
        content = make(target.namespace, target.name)
    return messages.change(DELETE, target.resource, content)


def _delete_today(target: Target, pending: Pending, uid: str) -> Message:
    """Make a delete with the object's last state, or with its uid alone.

    The edge deletes the pod of that uid only. With a spec, the spec must name the node; without
    one, it compares all its pods with its database (handlePod in edge/pkg/edged/edged.go).
    """
    last = pending.last
    if last and uid_of(last) == uid and (target.type != POD or node_of(last) == target.node):
        content, version = for_v1_23(target.type, last), version_of(last)
    else:
        metadata = {"name": target.name, "namespace": target.namespace, "uid": uid}
        content, version = for_v1_23(target.type, {"metadata": metadata}), ""
    return messages.change(DELETE, target.resource, content, version)
