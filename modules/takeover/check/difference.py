"""What an edge has by KubeEdge's record, and what it is to have: the messages that it is sent."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from modules.common.device_references import DEVICE_TYPE, MODEL_TYPE, model_of, node_of
from modules.common.kube import (
    CONFIGMAPS,
    DEVICEMODELS_V1BETA1,
    DEVICES_V1BETA1,
    PODS,
    SECRETS,
    Object,
    Resource,
)
from modules.common.pod_references import CONFIGMAP, SECRET, references
from modules.common.sync.journal import Item
from modules.common.sync.sync_form import Sync

POD: Final = "pod"

#: The kinds of which an edge is sent what the record says that it lacks, by the module that sends.
KINDS: Final[dict[str, Resource]] = {POD: PODS, CONFIGMAP: CONFIGMAPS, SECRET: SECRETS}
DEVICE_KINDS: Final[dict[str, Resource]] = {
    MODEL_TYPE: DEVICEMODELS_V1BETA1,
    DEVICE_TYPE: DEVICES_V1BETA1,
}

#: The types of which another object of the name goes first; others are replaced.
_DELETED_FIRST: Final = (POD, DEVICE_TYPE)


class State(NamedTuple):
    """One state of an object: which one of its name, and its version."""

    uid: str
    version: str
    model: Item | None = None
    """without which a device is not sent"""


Wanted = Mapping[str, Mapping[Item, State]]
"""By node: what it is to have."""
Recorded = Mapping[str, Mapping[Item, Mapping[str, str]]]
"""By node and item: the version of each uid that it has acknowledged."""


@dataclass(frozen=True)
class Difference:
    """Numbers of objects of one edge; of those that it is sent, by type."""

    same: int = 0
    inserts: Counter[str] = field(default_factory=Counter)
    updates: Counter[str] = field(default_factory=Counter)
    deletes: Counter[str] = field(default_factory=Counter)

    @property
    def messages(self) -> int:
        return self.inserts.total() + self.updates.total() + self.deletes.total()

    def __str__(self) -> str:
        parts = [
            f"{_number(counts.total(), operation)} ({_listed(counts)})"
            for operation, counts in (
                ("insert", self.inserts),
                ("update", self.updates),
                ("delete", self.deletes),
            )
            if counts
        ]
        has = f"has {self.same} of its objects in their present state"
        return f"{has}, and is sent {', '.join(parts) or 'nothing'}"


def wanted(pods: Iterable[Object], others: Mapping[str, Iterable[Object]]) -> Wanted:
    """Return what each node is to have.

    Its pods, and the configmaps and secrets that they name; its devices, and their models. `others`
    are all objects of these, by their types.
    """
    states = {
        _item(type_, obj): _state(obj) for type_, objects in others.items() for obj in objects
    }
    found: defaultdict[str, dict[Item, State]] = defaultdict(dict)
    for pod in pods:
        if node := (pod.get("spec") or {}).get("nodeName"):
            found[node][_item(POD, pod)] = _state(pod)
            found[node] |= {item: states[item] for item in references(pod) if item in states}
    for device in others.get(DEVICE_TYPE, ()):
        if node := node_of(device):
            model = (MODEL_TYPE, *named) if (named := model_of(device)) else None
            found[node][_item(DEVICE_TYPE, device)] = _state(device)._replace(model=model)
            if model and model in states:
                found[node][model] = states[model]
    return found


def recorded(syncs: Iterable[Sync], kinds: Mapping[str, Resource]) -> Recorded:
    """Return what KubeEdge's cloudcore has recorded of these kinds."""
    types = {(each.api_version, each.kind): type_ for type_, each in kinds.items()}
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
    # A model that is gone stays at the edge for its devices.
    kept = wanted_here.keys() | {state.model for state in wanted_here.values()}
    same = 0
    inserts: Counter[str] = Counter()
    updates: Counter[str] = Counter()
    deletes = Counter(item[0] for item in recorded_here.keys() - kept)
    for item, state in wanted_here.items():
        versions = recorded_here.get(item, {})
        if versions.get(state.uid) == state.version:
            same += 1
        elif state.uid in versions:
            updates[item[0]] += 1
        else:
            if versions and item[0] in _DELETED_FIRST:
                deletes[item[0]] += 1
            if state.model is None or state.model in wanted_here or state.model in recorded_here:
                inserts[item[0]] += 1
    return Difference(same, inserts, updates, deletes)


def _listed(counts: Counter[str]) -> str:
    return ", ".join(_number(count, type_) for type_, count in counts.items())


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' if count > 1 else ''}"


def _item(type_: str, obj: Object) -> Item:
    return type_, obj["metadata"]["namespace"], obj["metadata"]["name"]


def _state(obj: Object) -> State:
    metadata = obj["metadata"]
    return State(metadata.get("uid") or "", metadata.get("resourceVersion") or "")
