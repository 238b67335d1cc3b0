"""Pods, which are sent to their node after the configmaps and secrets they refer to."""

from __future__ import annotations

from collections.abc import Iterable

from modules.common.kube import Object, WatchEvent, key_of
from modules.edgecontroller.downstream.due import Target
from modules.edgecontroller.downstream.locations import Need
from modules.edgecontroller.downstream.state import State
from modules.edgecontroller.messages import POD
from modules.edgecontroller.objects import node_of, pod_changed, version_of


class PodEventHandler:
    """Handles pod events, and updates the location cache."""

    def __init__(self, state: State) -> None:
        self._state = state

    def handle(self, event: WatchEvent) -> None:
        self._state.changed()
        pod, old = event.object, event.old
        key = key_of(pod)
        target = Target(node_of(pod), POD, *key)
        if event.type == "DELETED":
            self._removed(old or pod, last=pod)
        elif old is not None and node_of(old) != target.node:
            # In an API that was restored from a copy it may be bound again, to another node.
            self._removed(old, last=old)
            self.handle(WatchEvent("ADDED", pod))
        elif old is None or pod_changed(old, pod):
            self._mark_needs(self._state.locations.place(key, pod))
            self._mark(target, fresh=self._state.is_fresh(POD, event))
        else:
            self._keep_seen(target, old, pod)

    def _removed(self, pod: Object, *, last: Object) -> None:
        key = key_of(pod)
        ended = self._state.locations.remove(key, pod)
        self._mark(Target(node_of(pod), POD, *key), last=last)
        self._mark_needs(ended)

    def _keep_seen(self, target: Target, old: Object, new: Object) -> None:
        """Carry the acknowledgement over to the new resourceVersion: edges see no change."""
        record = self._state.record
        seen = record.seen(target.node, target.item)
        if seen and seen == version_of(old):
            record.carry_over(target.node, target.item, version_of(new))

    def _mark(self, target: Target, *, fresh: bool = False, last: Object | None = None) -> None:
        if self._state.live and self._state.reachable(target.node):
            self._state.due.mark(target, fresh=fresh, last=last)

    def _mark_needs(self, needs: Iterable[Need]) -> None:
        for node, item in sorted(needs):
            self._mark(Target(node, *item))
