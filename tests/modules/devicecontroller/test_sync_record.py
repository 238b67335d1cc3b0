"""The record outlives the process, and its loss is survived."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from modules.devicecontroller.sync.inventory import DeviceSlot
from modules.devicecontroller.sync.record import (
    SyncRecord,
    Told,
)
from supervisor.api import DiskFull
from tests.modules.devicecontroller.samples import device


def test_outlives_the_process(tmp_path: Path) -> None:
    path = tmp_path / "controller" / "announced.sqlite3"
    with SyncRecord(path) as record:
        record.put(DeviceSlot("n1", "a"), Told(device("a"), {"p": "1"}))
        record.put(DeviceSlot("n1", "b"), Told(device("b")))
        record.put(DeviceSlot("n1", "b"), Told(device("b", version="7")))
        record.put(DeviceSlot("n2", "c"), Told(device("c")))
        record.forget(DeviceSlot("n2", "c"))
        record.forget(DeviceSlot("n3", "never"))
    with SyncRecord(path) as record:
        assert set(record.slots()) == {DeviceSlot("n1", "a"), DeviceSlot("n1", "b")}
        assert record.get(DeviceSlot("n1", "a")) == Told(device("a"), {"p": "1"})
        assert record.of_node("n1")["b"] == Told(device("b", version="7"))
        assert record.of_node("n2") == {}
    assert path.parent.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("content", [b"no database" * 1000, None])
def test_damaged_file_is_begun_anew(
    tmp_path: Path, content: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "announced.sqlite3"
    with SyncRecord(path) as record:
        record.put(DeviceSlot("n1", "a"), Told(device("a")))
    if content is None:
        database = sqlite3.connect(path)
        database.execute("UPDATE told SET told = '{'")
        database.commit()
        database.close()
    else:
        path.write_bytes(content)
    with SyncRecord(path) as record:
        assert list(record.slots()) == []
        record.put(DeviceSlot("n1", "b"), Told(device("b")))
    assert "starting with an empty record" in caplog.text
    with SyncRecord(path) as record:
        assert list(record.slots()) == [DeviceSlot("n1", "b")]


def test_unusable_place_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "announced.sqlite3").mkdir()
    with (
        pytest.raises(sqlite3.OperationalError, match="unable to open"),
        SyncRecord(tmp_path / "announced.sqlite3"),
    ):
        pass


def test_on_a_full_disk_all_is_kept_in_memory_and_written_when_there_is_room(
    tmp_path: Path,
) -> None:
    path = tmp_path / "announced.sqlite3"
    with SyncRecord(path) as record:
        record.put(DeviceSlot("n", "gone"), Told(device("gone")))
        (pages,) = record._database.execute("PRAGMA page_count").fetchone()
        record._database.execute(f"PRAGMA max_page_count = {pages}")
        for index in range(50):
            record.put(DeviceSlot("n", f"d{index}"), Told(device(f"d{index}")))
        record.forget(DeviceSlot("n", "gone"))
        record.flush()
        assert "disk full" in record.trouble.reason
        assert str(path) in record.trouble.reason
        assert len(list(record.slots())) == 50
        record._database.execute("PRAGMA max_page_count = 1073741823")
        record.flush()
        assert record.trouble.reason == ""
    with SyncRecord(path) as record:
        assert set(record.slots()) == {DeviceSlot("n", f"d{index}") for index in range(50)}


def test_a_start_without_room_is_a_temporary_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> sqlite3.Connection:
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorcode = sqlite3.SQLITE_FULL
        raise error

    monkeypatch.setattr(sqlite3, "connect", full)
    path = tmp_path / "announced.sqlite3"
    with pytest.raises(DiskFull, match=str(path)), SyncRecord(path):
        pass
