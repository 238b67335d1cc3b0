"""The ObjectSyncs of all nodes, by node, in few bytes each: what a node has when it comes.

To list those of one node by a label, an API server looks at all: of 100,000 for 80 ms of its CPU
time, and for 19 s if it reads them from etcd. So each replica watches all, and keeps of each what
its record needs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, MutableMapping
from typing import Final

import msgspec

from modules.common.kube import (
    CLUSTEROBJECTSYNCS,
    OBJECTSYNCS,
    CheckedReflector,
    Key,
    KubeClient,
    Object,
    Reflector,
    Resource,
    SetAside,
    number_of,
)
from modules.common.sync.sync_form import CONTROLLER_LABEL, SENT, UNSEEN, node_of, read_sync
from modules.common.sync.write_barrier import WriteBarrier, is_barrier

#: Characters of what else was sent of an object up to which it is kept; more is to be read.
_SHORT: Final = 200

#: The fields of an ObjectSync's spec.
_SPEC: Final = ("objectAPIVersion", "objectKind", "objectName")


class SyncIndex:
    """A copy of all ObjectSyncs and ClusterObjectSyncs of some kinds of objects."""

    def __init__(
        self,
        client: KubeClient,
        kinds: Iterable[Resource],
        set_aside: SetAside,
        *,
        namespace: str | None,
        of_barrier: str,
        not_of: str,
    ) -> None:
        """Set up for the ObjectSyncs of a namespace, or of all (None).

        `of_barrier` is the namespace of an object that replicas write, if it is None. `not_of` is
        the controller whose ObjectSyncs the API server leaves out; those of earlier cloudcores and
        of KubeEdge's cloud do not say whose they are.
        """
        selector = f"{CONTROLLER_LABEL}!={not_of}"
        self._kinds = {(kind.api_version, kind.kind) for kind in kinds}
        barrier = WriteBarrier(client, OBJECTSYNCS, namespace or of_barrier)
        of_cluster = WriteBarrier(client, CLUSTEROBJECTSYNCS, None)
        self._shares = [
            _Share(client, barrier, self._keep, set_aside, selector, namespace=namespace),
            _Share(client, of_cluster, self._keep, set_aside, selector),
        ]

    @property
    def reflectors(self) -> list[Reflector]:
        """What keeps the copy in sync, while it runs."""
        return [*self._shares]

    async def catch_up(self) -> None:
        """Wait until all is known that was written before the call; raises a KubeError."""
        await asyncio.gather(*(share.catch_up() for share in self._shares))

    def of_node(self, node: str) -> list[Object]:
        """Return the ObjectSyncs of a node, with the fields alone that say what it has.

        In place of a long annotation of what else was sent is None.
        """
        return [obj for share in self._shares for obj in share.store.of_node(node)]

    def _keep(self, obj: Object) -> Object | None:
        """Reduce an ObjectSync; None for one that says nothing of these kinds of objects."""
        spec = obj.get("spec") or {}
        if (spec.get("objectAPIVersion"), spec.get("objectKind")) not in self._kinds:
            return None
        return _reduced(obj) if read_sync(obj) else None


class _Share(CheckedReflector):
    """The objects of one resource, of whose changes nobody is told but the barrier."""

    store: CompactSyncs

    def __init__(
        self,
        client: KubeClient,
        barrier: WriteBarrier,
        keep: Callable[[Object], Object | None],
        set_aside: SetAside,
        selector: str,
        *,
        namespace: str | None = None,
    ) -> None:
        super().__init__(
            client,
            barrier.resource,
            namespace=namespace,
            label_selector=selector,
            keep=lambda obj: _reduced(obj) if is_barrier(obj) else keep(obj),
            store=CompactSyncs(),
            set_aside=set_aside,
            progress=barrier.progress,
        )
        self._barrier = barrier
        self._newest = 0
        """the latest version of an object that has been shown"""
        self._shown = 0
        """while all are listed: the same before that"""

    async def catch_up(self) -> None:
        await self.synced()
        await self._barrier.passed()

    async def _list(self) -> None:
        self._shown, self._newest = self._newest, 0
        try:
            await super()._list()
        except BaseException:
            self._newest = self._shown
            raise
        finally:
            self._shown = 0

    def _put(self, key: Key, obj: Object) -> None:
        version = number_of(obj["metadata"]["resourceVersion"])
        self._newest = max(self._newest, version)
        if version <= self._shown:
            obj = self._listed_again(key, obj)
        if self.aside:
            super()._put(key, obj)
        else:
            self.store[key] = obj  # whatever was there
        if is_barrier(obj):
            self._barrier.progress.seen(obj)

    def _listed_again(self, key: Key, obj: Object) -> Object:
        """Return a listed object that is older than what was shown.

        If it is not as it was shown, the API was restored from a backup, and its node may have
        something else now: the version is not sure.
        """
        known, version = self.store.get(key), obj["metadata"]["resourceVersion"]
        is_same = known is not None and known["metadata"]["resourceVersion"] == version
        return known if known and is_same else _unsure(obj)


def _unsure(obj: Object) -> Object:
    """Return an ObjectSync as one of which the version is not sure."""
    return obj if is_barrier(obj) else {**obj, "status": {"objectResourceVersion": UNSEEN}}


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder().decode


class CompactSyncs(MutableMapping[Key, Object]):
    """A store of ObjectSyncs that were reduced, by node; some 250 bytes for each."""

    def __init__(self) -> None:
        self._nodes: dict[str, dict[str, bytes]] = {}
        self._count = 0

    def of_node(self, node: str) -> Iterator[Object]:
        """Yield the ObjectSyncs of a node."""
        for place, packed in self._nodes.get(node, {}).items():
            yield _unpacked(place, packed)

    def __getitem__(self, key: Key) -> Object:
        place = _place(key)
        return _unpacked(place, self._nodes[node_of(key[1])][place])

    def __setitem__(self, key: Key, obj: Object) -> None:
        of_node = self._nodes.setdefault(node_of(key[1]), {})
        place = _place(key)
        self._count += place not in of_node
        of_node[place] = _packed(obj)

    def __delitem__(self, key: Key) -> None:
        node = node_of(key[1])
        del self._nodes[node][_place(key)]
        self._count -= 1
        if not self._nodes[node]:
            del self._nodes[node]

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Key]:
        for of_node in self._nodes.values():
            for place in of_node:
                namespace, _, name = place.partition("/")
                yield namespace, name


def is_shortened(obj: Object) -> bool:
    """Whether an ObjectSync of the index has an annotation that is to be read."""
    return bool((obj["metadata"].get("annotations") or {}).get(SENT, "") is None)


def _place(key: Key) -> str:
    """Return a key as one string, which takes half the memory."""
    return f"{key[0]}/{key[1]}"


def _reduced(obj: Object) -> Object:
    """Return the fields of an ObjectSync that say what a node has."""
    metadata, spec = obj["metadata"], obj.get("spec") or {}
    kept: Object = {"name": metadata["name"], "resourceVersion": metadata["resourceVersion"]}
    if namespace := metadata.get("namespace"):
        kept["namespace"] = namespace
    if sent := (metadata.get("annotations") or {}).get(SENT):
        kept["annotations"] = {SENT: sent if len(sent) <= _SHORT else None}
    version = (obj.get("status") or {}).get("objectResourceVersion")
    return {
        "metadata": kept,
        "spec": {field: spec.get(field) for field in _SPEC},
        "status": {"objectResourceVersion": version},
    }


def _packed(kept: Object) -> bytes:
    metadata = kept["metadata"]
    sent = metadata["annotations"][SENT] if "annotations" in metadata else ""
    version = kept["status"]["objectResourceVersion"]
    return _encode((metadata["resourceVersion"], version, sent, *kept["spec"].values()))


def _unpacked(place: str, packed: bytes) -> Object:
    namespace, _, name = place.partition("/")
    revision, version, sent, *spec = _decode(packed)
    metadata: Object = {"name": name, "resourceVersion": revision}
    if namespace:
        metadata["namespace"] = namespace
    if sent != "":
        metadata["annotations"] = {SENT: sent}
    return {
        "metadata": metadata,
        "spec": dict(zip(_SPEC, spec, strict=True)),
        "status": {"objectResourceVersion": version},
    }
