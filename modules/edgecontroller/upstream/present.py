"""The present state of objects in answers: an edge stores these in place of what it has.

An answer takes another way than the messages about changes, and may come after some of them. With
what a request has written or read, an edge would store a pod again that was deleted meanwhile, and
start it when it starts itself (updatePodDB in edge/pkg/metamanager/client/pod.go).
"""

from __future__ import annotations

from functools import partial

from modules.common.kube import KubeClient, NotFound, Object, any_shape, check, is_newer, key_of
from modules.edgecontroller.downstream.state import State
from modules.edgecontroller.messages import NODE
from modules.edgecontroller.objects import RESOURCES, uid_of, version_of
from modules.edgecontroller.upstream.calls import ask


class Present:
    """Reads an object again of which the watch has shown more than a request has."""

    def __init__(self, client: KubeClient, state: State) -> None:
        self._client = client
        self._state = state

    async def state_of(self, type_: str, obj: Object) -> Object:
        """Return an object that was written or read, or its state now if that is a later one.

        An object of a type that edges are sent nothing of (messages.py) is returned as it is.
        It is at least as new as what its edge is sent before the caller awaits again. Raises
        NotFound if it is gone, or another one has its name, and BadObject without usable metadata.
        """
        resource = RESOURCES.get(type_)
        if resource is None:
            return obj
        check(obj, any_shape())
        namespace, name = key_of(obj)
        read = partial(self._client.get, resource, name, namespace or None)
        while self._may_be_behind(type_, obj):
            found = await ask(read, self._client.health)
            check(found, any_shape())
            if uid_of(found) != uid_of(obj):
                raise NotFound(404, "NotFound", f'{resource.plural} "{name}" not found')
            if version_of(found) == version_of(obj):
                break  # the watch is behind
            obj = found
        return obj

    def _may_be_behind(self, type_: str, obj: Object) -> bool:
        if type_ == NODE:  # some are not watched
            known = self._state.nodes.get(key_of(obj))
            return known is not None and _is_later(known, obj)
        known = self._state.stores[type_].get(key_of(obj))
        return known is None or _is_later(known, obj)


def _is_later(known: Object, obj: Object) -> bool:
    return uid_of(known) != uid_of(obj) or is_newer(version_of(known), version_of(obj))
