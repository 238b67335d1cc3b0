"""The charts' file: bounded, and it survives crashes, full disks and damage."""

from __future__ import annotations

import errno
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from modules.dashboard import history as history_module
from modules.dashboard.history import Change, History
from modules.dashboard.live.board import Board
from modules.dashboard.live.viewers import Viewers


class Clock:
    def __init__(self) -> None:
        self.seconds = 1_000_000.0

    def __call__(self) -> float:
        return self.seconds


def filled(path: Path, clock: Clock, samples: int, modules: int = 1) -> History:
    history = History(path, clock)
    for number in range(samples):
        clock.seconds += 10
        used = {f"m{each}": (number % 100 + 0.5, 1 << 30, 3.25) for each in range(modules)}
        assert history.add(used, number, 5)
    return history


def test_it_survives(tmp_path: Path) -> None:
    path, clock = tmp_path / "new" / "history.json", Clock()
    history = filled(path, clock, 4)
    history.changes.append(Change(1.0, "edge", "e", "ready", "disconnected", "why"))
    history.write()
    again = History(path, clock)
    assert again.columns("hour") == history.columns("hour")
    assert again.columns("hour")["modules"]["m0"]["cpu"] == (0.5, 1.5, 2.5, 3.5)
    assert again.columns("hour")["ready"] == [0, 1, 2, 3]
    assert list(again.changes) == list(history.changes)
    assert path.stat().st_mode & 0o077 == 0


def test_it_is_bounded(tmp_path: Path) -> None:
    path, clock = tmp_path / "history.json", Clock()
    history = filled(path, clock, 9000, modules=60)
    history.changes.extend(Change(1.0, "edge", "e", "a", "b", "") for _ in range(5000))
    assert len(history.hour) == 360
    assert len(history.day) == 288
    assert len(history.changes) == 1000
    assert len(history.hour[-1].modules) == 40
    history.write()
    assert path.stat().st_size < 2_000_000


def test_a_sample_is_due_every_ten_seconds(tmp_path: Path) -> None:
    clock = Clock()
    history = History(tmp_path / "history.json", clock)
    assert history.add({}, 0, 0)
    clock.seconds += 9
    assert history.add({}, 0, 0) is None
    clock.seconds += 1
    assert history.add({}, 0, 0)
    clock.seconds -= 5000  # the clock was set
    assert history.add({}, 0, 0)


def test_a_peak_stands_out_in_the_day(tmp_path: Path) -> None:
    clock = Clock()
    history = History(tmp_path / "history.json", clock)
    for number in range(31):
        clock.seconds += 10
        history.add({"m": (90.0 if number == 15 else 1.0, 1, 0.0)}, 1, 1)
    assert history.columns("day")["modules"]["m"]["cpu"] == (1.0, 90.0)


def test_samples_are_in_order_after_the_clock_was_set(tmp_path: Path) -> None:
    clock = Clock()
    history = filled(tmp_path / "history.json", clock, 100)
    for jump in (-700, 3000, -86400, -5):
        clock.seconds += jump
        for _ in range(40):
            clock.seconds += 10
            history.add({}, 1, 1)
        for samples in (history.hour, history.day):
            times = [sample.at for sample in samples]
            assert times == sorted(set(times))
            assert times[-1] <= clock.seconds
    assert len(history.hour) == 79


def test_what_is_old_is_not_shown(tmp_path: Path) -> None:
    clock = Clock()
    history = filled(tmp_path / "history.json", clock, 10)
    clock.seconds += 3550
    assert len(history.columns("hour")["at"]) == 6
    clock.seconds += 86400
    assert history.columns("day")["at"] == []


@pytest.mark.parametrize("content", [b"", b"{", b'{"hour": 1}', b"\xff", b'{"hour": [[1]]}'])
def test_a_damaged_file_is_begun_anew(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "history.json"
    path.write_bytes(content)
    history = filled(path, Clock(), 1)
    history.write()
    assert "begin anew" in caplog.text
    assert len(History(path).hour) == 1


def test_a_full_disk_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    history = filled(tmp_path / "history.json", Clock(), 1)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(history_module, "replace_file", full)
        history.write()
        history.write()
    assert caplog.text.count("disk full") == 1
    history.write()
    assert (tmp_path / "history.json").exists()


def test_after_the_clock_was_set_back_the_newest_change_is_the_last(tmp_path: Path) -> None:
    clock = Clock()
    history = History(tmp_path / "history.json", clock)
    for name, ahead in (("a", 0), ("b", 172_800), ("c", 172_801)):
        history.changes.append(Change(clock() + ahead, "edge", name, "ready", "disconnected", ""))
    history.add({}, 0, 0)
    clock.seconds += 10
    history.changes.append(Change(clock(), "edge", "d", "ready", "disconnected", ""))
    clock.seconds += 10
    history.add({}, 0, 0)
    ordered = sorted(history.changes, key=lambda change: change.at)
    assert [change.name for change in ordered] == ["a", "b", "c", "d"]
    assert ordered[-1].at == clock() - 10


async def test_after_the_clock_was_set_back_so_are_those_of_modules(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def change(number: int, at: float) -> dict[str, Any]:
        states = {"module": f"m{number}", "old": "ready", "new": "crashed", "reason": ""}
        return {"number": number, "at": at, "pid": 1, **states}

    answers = [[change(1, 172_800.0)], [change(2, 5.0)]]

    async def get(target: str, **_: object) -> Any:
        if target == "/events":
            return answers.pop(0)
        return {"version": "", "state": "", "started_at": "", "pid": 1, "modules": []}

    admin: Any = SimpleNamespace(get=get)
    fleet: Any = (SimpleNamespace(ready=0, edges=()), None, None)
    board = Board(admin, fleet, History(tmp_path / "history.json"), Viewers())
    for now in (172_801.0, 6.0):
        monkeypatch.setattr(time, "time", lambda now=now: now)
        await board._read()
    assert [each.name for each in board.last_changes()] == ["m1", "m2"]
    answers.append([change(3, 7.0)])
    monkeypatch.setattr(time, "time", lambda: 8.0)
    await board._read()
    assert [each.name for each in board.last_changes()] == ["m1", "m2", "m3"]
