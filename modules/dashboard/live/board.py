"""What is known at this moment, for all viewers: the one poll of the supervisor, and the fleet."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from typing import Any, Final

from modules.dashboard.admin import Admin, AdminRefused, AdminUnavailable
from modules.dashboard.history import WRITE_INTERVAL, Change, History, Sample, Usage, not_after
from modules.dashboard.live.certificates import CertificateBoard
from modules.dashboard.live.cpu import CpuRates
from modules.dashboard.live.devices import DeviceBoard
from modules.dashboard.live.edges import EdgeBoard
from modules.dashboard.live.viewers import Viewers, news

#: Seconds between two polls while somebody looks, and while nobody does.
POLL: Final = 1.0
_IDLE_POLL: Final = 5.0

#: State changes of modules that are kept.
_CHANGES: Final = 1000
_TROUBLE: Final = "unreachable"

#: The fields of a module in the status document that pages show.
_FIELDS: Final = (
    *("name", "group", "enabled", "state", "reason", "since", "pid", "started_at", "restarts"),
    *("restarts_by_cause", "rss_bytes", "threads", "fds", "inbox", "details"),
)


class Board:
    """What is known at this moment; viewers are told of each change."""

    def __init__(
        self,
        admin: Admin,
        fleet: tuple[EdgeBoard, DeviceBoard, CertificateBoard],
        history: History,
        viewers: Viewers,
    ) -> None:
        self._admin = admin
        self._edges, self._devices, self._certificates = fleet
        self._history = history
        self._viewers = viewers
        self._status: dict[str, Any] = {"state": "starting", "modules": []}
        self._changes: list[Change] = []
        """state changes of modules, as the supervisor has them"""
        self._number = 0
        self._supervisor: Any = None
        self._cpu = CpuRates()

    async def run(self) -> None:
        """Poll until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._poll())
            tasks.create_task(self._edges.run())
            tasks.create_task(self._devices.run())
            tasks.create_task(self._certificates.run())
            tasks.create_task(self._keep_history())

    def snapshot(self, topic: str) -> Any:
        """Return what a page that opens is sent first of a topic; None if there is nothing."""
        if topic == "status":
            return self.status()
        if topic == "changes":
            return news(self.last_changes(), all=True)
        if topic == "edges":
            return self._edges.snapshot()
        return None

    def last_changes(self) -> list[Change]:
        """Return the last changes of modules, edges and devices, oldest first."""
        return sorted((*self._changes, *self._history.changes), key=lambda change: change.at)

    def status(self) -> dict[str, Any]:
        """Return the status document: the supervisor's, with a summary of the fleet."""
        return self._status | {
            "edges": self._edges.summary(),
            "devices": self._devices.summary(),
            "certificates": self._certificates.summary(self._edges.edges),
        }

    async def _poll(self) -> None:
        while True:
            try:
                await self._read()
            except (AdminUnavailable, AdminRefused) as error:
                self._status = self._status | {"state": _TROUBLE, "fault": str(error)}
            if self._viewers.of("status"):
                self._viewers.publish("status", self.status())
            await asyncio.sleep(POLL if len(self._viewers) else _IDLE_POLL)

    async def _read(self) -> None:
        document = await self._admin.get("/status")
        if document["pid"] != self._supervisor:  # another one counts its changes anew
            self._supervisor, self._number, self._changes = document["pid"], 0, []
        found = await self._admin.get("/events", since=self._number)
        latest = min((time.time(), *(each["at"] for each in found)))  # if it was set back
        self._changes = [not_after(change, latest) for change in self._changes]
        cpu = self._cpu.add(document["modules"])
        modules = [_shown(each, cpu.get(each["name"])) for each in document["modules"]]
        self._status = {
            **{name: document[name] for name in ("version", "state", "started_at", "pid")},
            "modules": modules,
            "fault": "",
        }
        if found:
            self._number = found[-1]["number"]
            changes = [_of_module(change) for change in found]
            self._changes = [*self._changes, *changes][-_CHANGES:]
            self._viewers.publish("changes", news(changes))
        self._sample(modules)

    def _sample(self, modules: Iterable[dict[str, Any]]) -> None:
        usage = {module["name"]: _usage(module) for module in modules if module["pid"]}
        if sample := self._history.add(usage, self._edges.ready, len(self._edges.edges)):
            self._viewers.publish("sample", sample_document(sample))

    async def _keep_history(self) -> None:
        try:
            while True:
                await asyncio.sleep(WRITE_INTERVAL)
                self._history.write()
        finally:
            self._history.write()


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


def _of_module(change: dict[str, Any]) -> Change:
    at, old, new, reason = (change[name] for name in ("at", "old", "new", "reason"))
    return Change(at, "module", change["module"], old, new, reason)
