"""The one poll of the supervisor for all viewers, and of the edges."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from typing import Any, Final

from modules.dashboard.admin import Admin, AdminRefused, AdminUnavailable
from modules.dashboard.history import WRITE_INTERVAL, Change, History, Sample, Usage
from modules.dashboard.live.cpu import CpuRates
from modules.dashboard.live.viewers import Viewers
from modules.dashboard.sources.devices import Device, Devices
from modules.dashboard.sources.edges import Edge, Edges, seconds

#: Seconds between two polls while somebody looks, and while nobody does.
POLL: Final = 1.0
_IDLE_POLL: Final = 5.0
EDGES_POLL: Final = 5.0
_IDLE_EDGES_POLL: Final = 30.0
_DEVICES_POLL: Final = 30.0

#: Edges and devices that are not well which the overview names, and state changes that are kept.
_NAMED: Final = 50
_CHANGES: Final = 1000
_TROUBLE: Final = "unreachable"

#: States that edges report of devices that do not answer.
_OFFLINE: Final = frozenset({"offline", "disconnected", "unhealthy", "unknown"})

#: The fields of a module in the status document that pages show.
_FIELDS: Final = (
    *("name", "group", "enabled", "state", "reason", "since", "pid", "started_at", "restarts"),
    *("restarts_by_cause", "rss_bytes", "threads", "fds", "inbox", "details"),
)


class Board:
    """What is known at this moment; viewers are told of each change."""

    def __init__(
        self, admin: Admin, edges: Edges, devices: Devices, history: History, viewers: Viewers
    ) -> None:
        self._admin = admin
        self._source = edges
        self._devices = devices
        self._device_summary: dict[str, Any] = {"total": 0, "troubled": []}
        self._history = history
        self._viewers = viewers
        self.status: dict[str, Any] = {"state": "starting", "modules": []}
        self.edges: dict[str, Edge] = {}
        self._edges_read = False
        self.changes: list[dict[str, Any]] = []
        """state changes of modules, as the supervisor has them"""
        self._number = 0
        self._supervisor: Any = None
        self._cpu = CpuRates()
        self._opened = asyncio.Event()
        viewers.on_change(self._opened.set)

    async def run(self) -> None:
        """Poll until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._poll_supervisor())
            tasks.create_task(self._poll_edges())
            tasks.create_task(self._poll_devices())
            tasks.create_task(self._keep_history())

    def snapshot(self, topic: str) -> Any:
        """Return what a page that opens is sent first of a topic; None if there is nothing."""
        if topic == "status":
            return self._status()
        if topic == "changes":
            return _news(self.last_changes(), all=True)
        if topic == "edges":
            return {"all": list(self.edges.values()), "fault": self._source.fault}
        return None

    def last_changes(self) -> list[Any]:
        """Return the last changes of modules and edges, oldest first."""
        merged = [*self.changes, *map(_of_edge, self._history.changes)]
        return sorted(merged, key=lambda change: change["at"])[-_CHANGES:]

    # The supervisor

    async def _poll_supervisor(self) -> None:
        while True:
            try:
                await self._read_supervisor()
            except (AdminUnavailable, AdminRefused) as error:
                self.status = self.status | {"state": _TROUBLE, "fault": str(error)}
            self._viewers.publish("status", self._status())
            await asyncio.sleep(POLL if len(self._viewers) else _IDLE_POLL)

    async def _read_supervisor(self) -> None:
        document = await self._admin.get("/status")
        if document["pid"] != self._supervisor:  # another one counts its changes anew
            self._supervisor, self._number, self.changes = document["pid"], 0, []
        found = await self._admin.get("/events", since=self._number)
        cpu = self._cpu.add(document["modules"])
        self.status = {
            **{name: document[name] for name in ("version", "state", "started_at", "pid")},
            "modules": [_shown(each, cpu.get(each["name"])) for each in document["modules"]],
            "fault": "",
        }
        if found:
            self._number = found[-1]["number"]
            changes = [_of_module(change) for change in found]
            self.changes = [*self.changes, *changes][-_CHANGES:]
            self._viewers.publish("changes", _news(changes))
        self._sample(self.status["modules"])

    def _sample(self, modules: Iterable[dict[str, Any]]) -> None:
        usage = {module["name"]: _usage(module) for module in modules if module["pid"]}
        ready = sum(edge.state == "ready" for edge in self.edges.values())
        if sample := self._history.add(usage, ready, len(self.edges)):
            self._viewers.publish("sample", sample_document(sample))

    def _status(self) -> dict[str, Any]:
        return self.status | {"edges": self._edge_summary(), "devices": self._device_summary}

    # The edges

    async def _poll_edges(self) -> None:
        while True:
            self._opened.clear()
            found = await self._source.read()
            self._compare(found)
            try:
                async with asyncio.timeout(EDGES_POLL if len(self._viewers) else _IDLE_EDGES_POLL):
                    await self._opened.wait()
                await asyncio.sleep(POLL)  # pages that open one after the other share a poll
            except TimeoutError:
                continue

    def _compare(self, found: dict[str, Edge]) -> None:
        """Tell viewers of the edges that have changed, and record their changes of state."""
        former, self.edges = self.edges, found
        changed = [edge for name, edge in found.items() if former.get(name) != edge]
        removed = [name for name in former if name not in found]
        if self._edges_read:
            changes = list(_state_changes(former, changed, removed))
            self._history.changes.extend(changes)
            if changes:
                self._viewers.publish("changes", _news([_of_edge(change) for change in changes]))
        self._edges_read = True
        if changed or removed:
            document = {"changed": changed, "removed": removed, "fault": self._source.fault}
            self._viewers.publish("edges", document)

    def _edge_summary(self) -> dict[str, Any]:
        troubled = [edge for edge in self.edges.values() if edge.state != "ready"]
        noticed = {change.name: change.at for change in self._history.changes}
        since = {edge.name: edge.since or noticed.get(edge.name) for edge in troubled}
        troubled.sort(key=lambda edge: (-(since[edge.name] or 0.0), edge.name))
        return {
            "total": len(self.edges),
            "ready": len(self.edges) - len(troubled),
            "troubled": [
                {"name": edge.name, "state": edge.state, "since": since[edge.name], "why": edge.why}
                for edge in troubled[:_NAMED]
            ],
            "fault": self._source.fault,
            "read": self._edges_read,
        }

    # The devices

    async def _poll_devices(self) -> None:
        while True:
            self._device_summary = _summary_of(await self._devices.read())
            await asyncio.sleep(_DEVICES_POLL)

    # The history

    async def _keep_history(self) -> None:
        try:
            while True:
                await asyncio.sleep(WRITE_INTERVAL)
                self._history.write()
        finally:
            self._history.write()


def _news(changes: list[Any], *, all: bool = False) -> dict[str, Any]:  # noqa: A002
    """Return changes for pages: those that are new, or all that are kept."""
    return {"all": all, "changes": changes}


def _summary_of(devices: list[Device]) -> dict[str, Any]:
    troubled = [device for device in devices if device.fault or device.state in _OFFLINE]
    return {
        "total": len(devices),
        "troubled": [
            {
                "name": f"{device.namespace}/{device.name}",
                "state": "not accepted" if device.fault else device.state,
                "since": device.since or seconds(device.online),
                "why": device.fault or f"so its edge {device.node} reports",
            }
            for device in troubled[:_NAMED]
        ],
    }


def sample_document(sample: Sample) -> dict[str, Any]:
    return {
        "at": sample.at,
        "ready": sample.ready,
        "edges": sample.edges,
        "modules": {
            name: dict(zip(("cpu", "rss", "fill"), used, strict=True))
            for name, used in sample.modules.items()
        },
    }


def _shown(module: dict[str, Any], cpu: float | None) -> dict[str, Any]:
    """Return what pages show of a module; tracebacks are in crash reports."""
    last = module["last_exit"]
    reason = (
        {"at": last["at"], "reason": last["reason"], "report": last["report"]} if last else None
    )
    return {name: module[name] for name in _FIELDS} | {"cpu": cpu, "last_exit": reason}


def _usage(module: dict[str, Any]) -> Usage:
    inbox = module["inbox"]
    fill = 100 * inbox["bytes"] / inbox["capacity_bytes"] if inbox["capacity_bytes"] else 0.0
    return module["cpu"] or 0.0, module["rss_bytes"] or 0, round(fill, 2)


def _of_module(change: dict[str, Any]) -> dict[str, Any]:
    fields = ("at", "old", "new", "reason")
    return {"kind": "module", "name": change["module"], **{name: change[name] for name in fields}}


def _of_edge(change: Change) -> dict[str, Any]:
    fields = ("at", "kind", "name", "old", "new", "reason")
    return {name: getattr(change, name) for name in fields}


def _state_changes(
    former: dict[str, Edge], changed: Iterable[Edge], removed: Iterable[str]
) -> Iterable[Change]:
    now = time.time()
    for edge in changed:
        before = former.get(edge.name)
        if before is None or before.state != edge.state:
            old = before.state if before else "new"
            yield Change(now, "edge", edge.name, old, edge.state, edge.why)
    for name in removed:
        yield Change(now, "edge", name, former[name].state, "removed", "")
