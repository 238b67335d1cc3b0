"""What an edge has by KubeEdge's record, and what it is to have: the messages that it is sent."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from modules.common.kube import CONFIGMAPS, PODS, SECRETS, Object
from modules.common.pod_references import CONFIGMAP, SECRET, references
from modules.common.sync.journal import Item
from modules.common.sync.object_syncs import Sync

POD: Final = "pod"

#: The kinds of which an edge is sent what the record says that it lacks.
KINDS: Final = {
    POD: PODS,
    CONFIGMAP: CONFIGMAPS,
    SECRET: SECRETS,
}


class State(NamedTuple):
    """One state of an object: which one of its name, and its version."""

    uid: str
    version: str


Wanted = Mapping[str, Mapping[Item, State]]
"""By node: what it is to have."""
Recorded = Mapping[str, Mapping[Item, Mapping[str, str]]]
"""By node and item: the version of each uid that it has acknowledged."""


@dataclass(frozen=True)
class Difference:
    """Numbers of objects of one edge."""

    same: int
    inserts: int
    updates: int
    deletes: int

    @property
    def messages(self) -> int:
        return self.inserts + self.updates + self.deletes

    def __str__(self) -> str:
        parts = [
            f"{count} {noun}{'s' if count > 1 else ''}"
            for count, noun in (
                (self.inserts, "insert"),
                (self.updates, "update"),
                (self.deletes, "delete"),
            )
            if count
        ]
        has = f"has {self.same} of its objects in their present state"
        return f"{has}, and is sent {', '.join(parts) or 'nothing'}"


def wanted(pods: Iterable[Object], others: Mapping[str, Iterable[Object]]) -> Wanted:
    """Return what each node is to have: its pods, and the configmaps and secrets that they name.

    `others` are all configmaps and secrets, by their types.
    """
    states = {
        (type_, obj["metadata"]["namespace"], obj["metadata"]["name"]): _state(obj)
        for type_, objects in others.items()
        for obj in objects
    }
    found: defaultdict[str, dict[Item, State]] = defaultdict(dict)
    for pod in pods:
        node = (pod.get("spec") or {}).get("nodeName")
        if not node:
            continue
        metadata = pod["metadata"]
        found[node][POD, metadata["namespace"], metadata["name"]] = _state(pod)
        for item in references(pod):
            if item in states:
                found[node][item] = states[item]
    return found


def recorded(syncs: Iterable[Sync]) -> Recorded:
    """Return what KubeEdge's cloudcore has recorded of the kinds that are compared."""
    types = {(each.api_version, each.kind): type_ for type_, each in KINDS.items()}
    found: defaultdict[str, defaultdict[Item, dict[str, str]]] = defaultdict(
        lambda: defaultdict(dict)
    )
    for sync in syncs:
        if type_ := types.get((sync.api_version, sync.kind)):
            found[sync.node][type_, sync.namespace, sync.name][sync.uid] = sync.version
    return found


def difference(node: str, wants: Wanted, has: Recorded) -> Difference:
    """Return what a node is sent. A state whose status alone differs counts as an update, too."""
    wanted_here, recorded_here = wants.get(node, {}), has.get(node, {})
    same = inserts = updates = 0
    deletes = len(recorded_here.keys() - wanted_here.keys())
    for item, state in wanted_here.items():
        versions = recorded_here.get(item, {})
        if versions.get(state.uid) == state.version:
            same += 1
        elif state.uid in versions:
            updates += 1
        else:
            inserts += 1
            # Another pod of that name goes first; a configmap is replaced.
            deletes += bool(versions) and item[0] == POD
    return Difference(same, inserts, updates, deletes)


def _state(obj: Object) -> State:
    metadata = obj["metadata"]
    return State(metadata.get("uid") or "", metadata.get("resourceVersion") or "")
