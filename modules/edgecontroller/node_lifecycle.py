"""The node lifecycle: conditions of nodes that no longer report become Unknown.

This is what the node lifecycle controller of kube-controller-manager does
(pkg/controller/nodelifecycle, tryUpdateNodeHealth), without its taints and evictions. A cluster has
that controller, so this one runs with the embedded API server alone. Like that controller it uses
the local clock: the grace period begins when the last status has arrived.
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
    Reason,
    reference,
)
from modules.edgecontroller.downstream.state import State

#: Interval of checks in seconds (node-monitor-period); at most a quarter of the grace period.
_MONITOR_PERIOD: Final = 5.0

#: The conditions that kube-controller-manager marks too.
_CONDITIONS: Final = ("Ready", "MemoryPressure", "DiskPressure", "PIDPressure")
_MESSAGE: Final = "Kubelet stopped posting node status."

#: Limit of the nodes named in a log line.
_NAMED: Final = 5

log = logging.getLogger(__name__)


class Lifecycle:
    """Marks the edge nodes that have not reported for `grace` seconds; with 0 none."""

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
        """Restart the grace period of a node, which has reported its status or connected."""
        if self._grace:  # otherwise nobody looks at it, nor forgets it
            self._heard[node] = time.monotonic()
        if node in self._marked:
            self._marked.discard(node)
            log.info("node %s: reports again", node)

    async def run(self) -> None:
        """Monitor the nodes until cancelled."""
        while self._grace:
            await self.check()
            await asyncio.sleep(min(_MONITOR_PERIOD, self._grace / 4))

    async def check(self) -> None:
        """Mark the overdue nodes; a write that fails is retried at the next check."""
        overdue = [node for node in self._overdue() if _certain(node)]
        marked = [node["metadata"]["name"] for node in overdue if await self._mark(node)]
        self._marked.update(marked)
        if marked:
            log.warning(
                "%s: no status for %g s, so the condition Ready is Unknown until there is one",
                _named(marked),
                self._grace,
            )

    def _overdue(self) -> list[Object]:
        """Return the overdue nodes; the grace period of a new node begins now."""
        now = time.monotonic()
        nodes = {name: node for (_, name), node in self._state.nodes.items()}
        self._heard = {name: self._heard.get(name, now) for name in nodes}
        self._marked &= nodes.keys()
        return [node for name, node in nodes.items() if now >= self._heard[name] + self._grace]

    async def _mark(self, node: Object) -> bool:
        """Mark a node, unless it has changed meanwhile, for example because it has reported."""
        metadata = node["metadata"]
        unknown = {
            "status": "Unknown",
            "reason": Reason.STATUS_UNKNOWN,
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
            log.debug("node %s: cannot mark it as Unknown yet: %s", metadata["name"], error)
            return False
        # The text of kube-controller-manager.
        text = f"Node {metadata['name']} status is now: NodeNotReady"
        self._recorder.event(reference(NODES, node), "Normal", Reason.NOT_READY, text)
        return True


def _certain(node: Object) -> list[str]:
    """Return the conditions of a node that are not Unknown; none if Ready is Unknown."""
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
