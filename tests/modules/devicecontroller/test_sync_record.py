"""The record of devices outlives the process and an upgrade, and its loss is survived."""

from __future__ import annotations

import errno
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from modules.devicecontroller.v1alpha1.sync.inventory import DeviceSlot
from modules.devicecontroller.v1alpha1.sync.record import (
    SyncRecord,
    Told,
)
from tests.modules.devicecontroller.samples import device


def test_outlives_the_process(tmp_path: Path) -> None:
    path = tmp_path / "controller" / "told.jsonl"
    killed = SyncRecord(path)
    killed.put(DeviceSlot("n1", "a"), Told(device("a"), {"p": "1"}))
    killed.put(DeviceSlot("n1", "b"), Told(device("b")))
    killed.put(DeviceSlot("n1", "b"), Told(device("b", version="7")))
    killed.put(DeviceSlot("n2", "c"), Told(device("c")))
    killed.forget(DeviceSlot("n2", "c"))
    killed.forget(DeviceSlot("n3", "never"))
    with closing(SyncRecord(path)) as record:
        assert set(record.slots()) == {DeviceSlot("n1", "a"), DeviceSlot("n1", "b")}
        assert record.get(DeviceSlot("n1", "a")) == Told(device("a"), {"p": "1"})
        assert record.of_node("n1")["b"] == Told(device("b", version="7"))
        assert record.of_node("n2") == {}
    killed.close()
    assert path.parent.stat().st_mode & 0o077 == 0
    assert path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("damage", [b"no journal", b'["n1","device","","b","u","",{"device":1}]\n'])
def test_a_damaged_file_is_used_up_to_the_damage(
    tmp_path: Path, damage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "told.jsonl"
    with closing(SyncRecord(path)) as record:
        record.put(DeviceSlot("n1", "a"), Told(device("a")))
    with path.open("ab") as file:
        file.write(damage)
    with closing(SyncRecord(path)) as record:
        assert list(record.slots()) == [DeviceSlot("n1", "a")]
        record.put(DeviceSlot("n1", "c"), Told(device("c")))
    assert "told.jsonl.unusable" in caplog.text
    with closing(SyncRecord(path)) as record:
        assert list(record.slots()) == [DeviceSlot("n1", "a"), DeviceSlot("n1", "c")]


def test_an_unusable_place_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "told.jsonl").mkdir()
    with pytest.raises(IsADirectoryError):
        SyncRecord(tmp_path / "told.jsonl")


def test_on_a_full_disk_all_is_kept_in_memory_and_written_when_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = tmp_path / "told.jsonl"
    with closing(SyncRecord(path)) as record:
        record.put(DeviceSlot("n", "gone"), Told(device("gone")))
        with monkeypatch.context() as patched:
            patched.setattr(os, "write", full)
            for index in range(50):
                record.put(DeviceSlot("n", f"d{index}"), Told(device(f"d{index}")))
            record.forget(DeviceSlot("n", "gone"))
            assert "disk full" in record.trouble.reason
            assert str(path) in record.trouble.reason
            assert len(list(record.slots())) == 50
        record.flush()
        assert record.trouble.reason == ""
    with closing(SyncRecord(path)) as record:
        assert set(record.slots()) == {DeviceSlot("n", f"d{index}") for index in range(50)}


def former(path: Path, told: bytes) -> None:
    """Write the file of cloudcore 0.1.0 with one device."""
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE told (node TEXT, name TEXT, told BLOB)")
        database.execute("INSERT INTO told VALUES ('n1', 'a', ?)", (told,))
        database.commit()


def test_the_file_of_an_earlier_version_is_taken_over_once(tmp_path: Path) -> None:
    told = Told(device("a"), {"p": "1"}, 7)
    former(tmp_path / "announced.sqlite3", msgspec.json.encode(told))
    for _ in range(2):
        with closing(SyncRecord(tmp_path / "told.jsonl")) as record:
            assert record.of_node("n1") == {"a": told}
        assert not (tmp_path / "announced.sqlite3").exists()


@pytest.mark.parametrize("damaged", ["row", "file"])
def test_a_damaged_file_of_an_earlier_version_is_dropped_with_a_word(
    tmp_path: Path, damaged: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "announced.sqlite3"
    if damaged == "row":
        former(path, b"{")
    else:
        path.write_bytes(b"no database" * 1000)
    with closing(SyncRecord(tmp_path / "told.jsonl")) as record:
        assert list(record.slots()) == []
    assert "nodes get their devices again" in caplog.text
    assert not path.exists()
