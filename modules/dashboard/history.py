"""What the modules used in the last hour and day: a bounded file that outlives cloudcore."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from ipc.files import replace_file
from modules.common.disk_failures import Trouble, temporary

#: Seconds between two samples of the last hour and of the last day, and how many there are.
HOUR_STEP: Final = 10.0
DAY_STEP: Final = 300.0
_HOUR: Final = 360
_DAY: Final = 288
#: Modules of one sample, and changes of edges and devices that are kept.
_MODULES: Final = 40
_CHANGES: Final = 1000
#: Seconds between two writes of the file.
WRITE_INTERVAL: Final = 30.0

#: CPU in percent, memory in bytes, and how full the channel is in percent.
Usage = tuple[float, int, float]

log = logging.getLogger(__name__)


class Sample(msgspec.Struct, array_like=True):
    """One moment: what each module used, and how many edges were ready, of how many."""

    at: int
    modules: dict[str, Usage]
    ready: int
    edges: int


class Change(msgspec.Struct, frozen=True):
    """One change of state; `at` is in seconds since the epoch."""

    at: float
    kind: str
    """module, edge or device"""
    name: str
    old: str
    new: str
    reason: str


def not_after(change: Change, now: float) -> Change:
    """Return a change as one of the present, if its time is in the future."""
    return change if change.at <= now else msgspec.structs.replace(change, at=now)


class _File(msgspec.Struct):
    hour: list[Sample] = []
    day: list[Sample] = []
    changes: list[Change] = []


class History:
    """The samples of the last hour and day, and the last changes of edges and devices."""

    def __init__(self, path: Path, now: Callable[[], float] = time.time) -> None:
        self._path = path
        self._now = now
        self._trouble = Trouble(path, "the charts begin anew after a restart")
        kept = self._read()
        self.hour = deque(kept.hour, maxlen=_HOUR)
        self.day = deque(kept.day, maxlen=_DAY)
        self.changes = deque(kept.changes, maxlen=_CHANGES)

    def add(self, modules: Mapping[str, Usage], ready: int, edges: int) -> Sample | None:
        """Record a sample if one is due, and return it."""
        now = self._now()
        self.bring_back(now)
        if self.hour and 0 <= now - self.hour[-1].at < HOUR_STEP:
            return None
        for samples in (self.hour, self.day):
            while samples and samples[-1].at >= int(now):  # the clock was set back
                samples.pop()
        sample = Sample(int(now), dict(list(modules.items())[:_MODULES]), ready, edges)
        self.hour.append(sample)
        if not self.day or now - self.day[-1].at >= DAY_STEP:
            self.day.append(_peak([each for each in self.hour if each.at > now - DAY_STEP]))
        return sample

    def bring_back(self, now: float) -> None:
        """Have no change in the future, after the clock was set back: it would stay the newest."""
        if any(change.at > now for change in self.changes):
            kept = [not_after(change, now) for change in self.changes]
            self.changes.clear()
            self.changes.extend(kept)

    def columns(self, span: str) -> dict[str, Any]:
        """Return the samples of the last `hour` or `day` as columns for charts."""
        seconds, samples = (86400, self.day) if span == "day" else (3600, self.hour)
        since = self._now() - seconds
        shown = [sample for sample in samples if sample.at >= since]
        names = {name for sample in shown for name in sample.modules}
        nothing = (None, None, None)
        return {
            "step": DAY_STEP if span == "day" else HOUR_STEP,
            "at": [sample.at for sample in shown],
            "ready": [sample.ready for sample in shown],
            "edges": [sample.edges for sample in shown],
            "modules": {
                name: dict(
                    zip(
                        ("cpu", "rss", "fill"),
                        zip(*(each.modules.get(name, nothing) for each in shown), strict=True),
                        strict=True,
                    )
                )
                for name in names
            },
        }

    def changed_at(self, kind: str) -> dict[str, float]:
        """Return when each edge or device has last changed, by name."""
        return {change.name: change.at for change in self.changes if change.kind == kind}

    def write(self) -> None:
        """Write the file; a full disk is logged once, and the next call tries again."""
        content = msgspec.json.encode(_File(list(self.hour), list(self.day), list(self.changes)))
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            replace_file(self._path, content, sync=False)
        except OSError as error:
            failure = temporary(error, self._path)
            if failure is None:
                raise
            self._trouble.began(failure)
        else:
            self._trouble.ended()

    def _read(self) -> _File:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=_File)
        except FileNotFoundError:
            return _File()
        except (OSError, msgspec.MsgspecError) as error:
            log.warning("cannot read %s: %s; the charts begin anew", self._path, error)
            return _File()


def _peak(samples: list[Sample]) -> Sample:
    """Return the highest values of some samples: what stands out must not be averaged away."""
    peaks: dict[str, Usage] = {}
    for sample in samples:
        for name, used in sample.modules.items():
            before = peaks.get(name, used)
            peaks[name] = (
                max(before[0], used[0]),
                max(before[1], used[1]),
                max(before[2], used[2]),
            )
    last = samples[-1]
    return Sample(last.at, peaks, min(each.ready for each in samples), last.edges)
