"""Nodes that no longer report are marked: their conditions become Unknown.

As the node lifecycle controller of kube-controller-manager does (pkg/controller/nodelifecycle,
tryUpdateNodeHealth), without its taints and evictions. A cluster has that one, so that this is for
the embedded API server alone. Like it, this trusts no times of others: a node is overdue when
nothing has been heard from it for so long by the clock here.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable
from typing import Final

from modules.common import times
from modules.common.kube import (
    NODES,
    EventRecorder,
    KubeClient,
    KubeError,
    Object,
    reference,
)
from modules.edgecontroller.downstream.state import State

#: Seconds between two looks (node-monitor-period), at most; a quarter of the grace period if less.
_LOOK: Final = 5.0

#: Those that kube-controller-manager marks too.
_CONDITIONS: Final = ("Ready", "MemoryPressure", "DiskPressure", "PIDPressure")
_REASON: Final = "NodeStatusUnknown"
_MESSAGE: Final = "Kubelet stopped posting node status."

#: Nodes that are named in a log line.
_NAMED: Final = 5

log = logging.getLogger(__name__)


class Lifecycle:
    """Marks the edge nodes that have not reported for `grace` seconds; 0: none ever."""

    def __init__(
        self, client: KubeClient, state: State, recorder: EventRecorder, grace: float
    ) -> None:
        self._client = client
        self._state = state
        self._recorder = recorder
        self._grace = grace
        self._heard: dict[str, float] = {}
        self._marked: set[str] = set()

    def reported(self, node: str) -> None:
        """Take note of a sign that a node is there: its status, or that it has connected."""
        self._heard[node] = time.monotonic()
        if node in self._marked:
            self._marked.discard(node)
            log.info(f"node {node} is heard from again")

    async def run(self) -> None:
        """Look after the nodes until cancelled."""
        while self._grace:
            await self.look()
            await asyncio.sleep(min(_LOOK, self._grace / 4))

    async def look(self) -> None:
        """Mark those that are overdue; what fails is tried at the next look."""
        overdue = [node for node in self._overdue() if _certain(node)]
        marked = [node["metadata"]["name"] for node in overdue if await self._mark(node)]
        self._marked.update(marked)
        if marked:
            log.warning(
                f"{_named(marked)}: no status for {self._grace:g} s, so the condition Ready is "
                "Unknown until there is one"
            )

    def _overdue(self) -> list[Object]:
        """Return the nodes that are overdue; one that is new here has its time from now on."""
        now = time.monotonic()
        nodes = {name: node for (_, name), node in self._state.nodes.items()}
        self._heard = {name: self._heard.get(name, now) for name in nodes}
        self._marked &= nodes.keys()
        return [node for name, node in nodes.items() if now >= self._heard[name] + self._grace]

    async def _mark(self, node: Object) -> bool:
        """Mark a node, unless it has changed meanwhile: it may have reported."""
        metadata = node["metadata"]
        unknown = {
            "status": "Unknown",
            "reason": _REASON,
            "message": _MESSAGE,
            "lastTransitionTime": times.format_now(),
        }
        patch = {
            "metadata": {"resourceVersion": metadata.get("resourceVersion")},
            "status": {"conditions": [{"type": type_, **unknown} for type_ in _certain(node)]},
        }
        try:
            await self._client.patch(
                NODES, metadata["name"], patch, type="strategic", subresource="status"
            )
        except KubeError as error:
            log.debug(f"node {metadata['name']} is not marked as Unknown yet: {error}")
            return False
        # As kube-controller-manager says it.
        text = f"Node {metadata['name']} status is now: NodeNotReady"
        self._recorder.event(reference(NODES, node), "Normal", "NodeNotReady", text)
        return True


def _certain(node: Object) -> list[str]:
    """Return the conditions that still say what a node has reported; none if it never has."""
    conditions = (node.get("status") or {}).get("conditions") or ()
    known = {each.get("type"): each.get("status") for each in conditions}
    if known.get("Ready", "Unknown") == "Unknown":
        return []
    return [type_ for type_ in _CONDITIONS if known.get(type_, "Unknown") != "Unknown"]


def _named(nodes: Iterable[str]) -> str:
    first, *others = sorted(nodes)
    if not others:
        return f"node {first}"
    more = len(others) + 1 - _NAMED
    named = ", ".join((first, *others)[:_NAMED])
    return f"nodes {named}" + (f" and {more} more" if more > 0 else "")
