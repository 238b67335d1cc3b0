"""The record of what nodes have been told outlives its process, a full disk and damage."""

import errno
import itertools
import os
import time
from pathlib import Path

import msgspec
import pytest

from modules.common.sync import absences
from modules.common.sync.journal import Row
from modules.common.sync.record import EVERY_NODE, Record
from modules.devicecontroller import DeviceController
from modules.edgecontroller import EdgeController
from supervisor.api import Finding, Settings
from tests.support.checking import command, performed

CM = ("configmap", "ns", "cm")
SECRET = ("secret", "ns", "s")


def test_outlives_its_process(tmp_path: Path) -> None:
    path = tmp_path / "deeper" / "told.jsonl"
    first = Record(path)
    first.tell("n", CM, "1")
    first.tell(EVERY_NODE, CM, "2")
    first.tell("n", CM, "3")
    first.commit()
    second = Record(path)  # the first one has not been closed: it was killed
    assert second.uid("n", CM) == "3"
    assert second.items(EVERY_NODE) == {CM: Row("2")}
    assert second.items("other") == {}
    second.remove("n", [CM, ("pod", "ns", "p")])
    second.close()
    first.close()
    third = Record(path)
    assert third.uid("n", CM) is None
    assert len(third) == 1
    third.close()


def test_knows_what_was_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "told.jsonl"
    first = Record(path)
    first.acknowledge("n", CM, "7")  # of what it was never told
    first.tell("n", CM, "1")
    first.tell("m", CM, "1")
    first.acknowledge("n", CM, "8")
    first.acknowledge("m", CM, "8")
    first.forget_seen("m")
    first.flush()
    second = Record(path)
    assert (second.seen("n", CM), second.seen("m", CM), second.seen("o", CM)) == ("8", "", "")
    second.tell("n", CM, "2")
    assert second.seen("n", CM) == ""
    first.close()
    second.close()


def test_does_not_grow_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modules.common.sync.journal._SLACK", 10)
    path = tmp_path / "told.jsonl"
    record = Record(path)
    for n in range(100):
        record.tell("n", CM, str(n))
        record.commit()
    assert len(path.read_bytes().splitlines()) < 20
    record.close()
    again = Record(path)
    assert again.uid("n", CM) == "99"
    again.close()


def test_damaged_record_is_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "told.jsonl"
    record = Record(path)
    record.tell("n", CM, "1")
    record.close()
    with path.open("ab") as file:
        file.write(b'["n","configmap","ns')
    record = Record(path)
    record.close()
    assert record.uid("n", CM) == "1"
    assert (tmp_path / "told.jsonl.unusable").read_bytes().endswith(b'"ns')
    again = Record(path)
    assert again.uid("n", CM) == "1"
    again.close()


async def test_the_doctor_names_a_record_that_was_set_aside(tmp_path: Path) -> None:
    settings = Settings(tmp_path / "data dir", tmp_path)

    async def found(cls: type[EdgeController] | type[DeviceController]) -> list[Finding]:
        checks = cls.checks(cls.Config(), settings, command)
        return await performed(checks, f"the files of the record of {cls.name}")

    for cls in (DeviceController, EdgeController):
        assert await found(cls) == []
        path = settings.data_dir / cls.name / "told.jsonl"
        path.parent.mkdir(parents=True)
        path.write_bytes(b'["n","configmap","ns')
        Record(path).close()
        [finding] = await found(cls)
        assert finding.mark == "wrong"
        text = f"{cls.name}'s record of what edges have was damaged, and set aside at "
        assert finding.text.startswith(text + time.strftime("%Y-"))
        assert finding.command == f"rm '{path}.unusable'"


def full(*_: object, **__: object) -> int:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("number", [errno.EIO, errno.EROFS])
def test_on_a_disk_that_fails_keeps_all_in_memory(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    record = Record(tmp_path / "told.jsonl")
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", fail)
        record.tell("n", CM, "1")
        record.commit()
        assert "check the disk" in record.trouble.reason
    record.close()
    again = Record(tmp_path / "told.jsonl")
    assert again.uid("n", CM) == "1"
    again.close()


def test_on_a_full_disk_keeps_all_in_memory_and_writes_it_when_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    path = tmp_path / "told.jsonl"
    write = os.write
    written = itertools.count(1)

    def half_a_line(file: int, data: bytes) -> int:
        return write(file, data[:10]) if next(written) == 1 else full()

    record = Record(path)
    record.tell("n", CM, "1")
    record.commit()
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", half_a_line)
        record.tell("n", CM, "2")
        record.commit()
        assert "disk full" in record.trouble.reason
        assert str(path) in record.trouble.reason
        record.tell("m", CM, "3")
        record.commit()
        record.acknowledge("m", CM, "v")
        record.flush()
        assert (record.uid("n", CM), record.seen("m", CM)) == ("2", "v")
    record.flush()
    assert record.trouble.reason == ""
    record.tell("m", SECRET, "4")
    record.close()
    assert len([line for line in caplog.messages if str(path) in line]) == 2
    again = Record(path)
    assert (again.uid("n", CM), again.seen("m", CM), again.uid("m", SECRET)) == ("2", "v", "4")
    again.close()


def test_begins_on_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "controller" / "told.jsonl"
    record = Record(path)
    record.tell("n", CM, "1")
    record.close()
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        record = Record(path)
        assert record.uid("n", CM) == "1"
        assert len(record) == 1
        record.close()
    record = Record(path)
    assert record.uid("n", CM) == "1"
    record.close()


class Clocks:
    """Both clocks of this process: the wall clock may be set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.wall, self.monotonic = 1e9, 0.0
        monkeypatch.setattr(time, "time", lambda: self.wall)
        monkeypatch.setattr(absences, "_WRITE", 40.0)

    def record(self, path: Path) -> Record:
        record = Record(path)
        record._absences = absences.Absences(lambda: self.monotonic)
        return record


def test_rows_of_a_node_that_is_gone_are_dropped_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clocks, path = Clocks(monkeypatch), tmp_path / "told.jsonl"
    record = clocks.record(path)
    record.tell("n", CM, "1")
    assert not record.drop_gone("n", 100)
    for _ in range(3):  # 0, 40 and 80 seconds, which are written
        assert not record.drop_gone("n", 100)
        clocks.monotonic += 40
    record.close()
    record = clocks.record(path)
    assert not record.drop_gone("n", 100)
    clocks.monotonic += 19
    assert not record.drop_gone("n", 100)
    assert record.uid("n", CM) == "1"
    clocks.monotonic += 1
    assert record.drop_gone("n", 100)
    assert record.nodes() == []
    assert not record.drop_gone("n", 100)
    assert record.nodes() == []
    record.close()


@pytest.mark.parametrize("jump", [2 * 86_400.0, -2 * 86_400.0, 1e10])
def test_a_clock_that_is_set_drops_no_rows(
    jump: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clocks, path = Clocks(monkeypatch), tmp_path / "told.jsonl"
    record = clocks.record(path)
    record.tell("n", CM, "1")
    record.tell("n", ("gone", "", ""), "1000000000")  # as earlier cloudcores wrote it
    clocks.wall += jump
    assert not record.drop_gone("n", 86_400)
    assert not record.drop_gone("n", 86_400)
    record.close()
    record = clocks.record(path)
    assert not record.drop_gone("n", 86_400)
    assert record.row("n", ("gone", "", "")) is None
    clocks.monotonic += 86_400
    assert record.drop_gone("n", 86_400)
    record.close()


def test_a_node_that_comes_back_keeps_its_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clocks = Clocks(monkeypatch)
    record = clocks.record(tmp_path / "told.jsonl")
    record.tell("n", CM, "1")
    record.drop_gone("n", 100)
    record.node_exists("n")
    clocks.monotonic += 1000
    assert not record.drop_gone("n", 100)
    assert not record.drop_gone("n", 100)  # it begins anew
    assert record.uid("n", CM) == "1"
    record.close()


def test_changes_are_told_to_a_second_store(tmp_path: Path) -> None:
    changes = []

    class Store:
        def changed(self, *change: object) -> None:
            changes.append(change)

    record = Record(tmp_path / "told.jsonl")
    record.keep_in(Store())
    record.tell("n", CM, "1")
    record.acknowledge("n", CM, "v")
    record.remove("n", [CM])
    one, seen = Row("1"), Row("1", "v")
    assert changes == [("n", CM, None, one), ("n", CM, one, seen), ("n", CM, seen, None)]
    record.close()


def test_that_a_second_store_has_a_row_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "told"
    record = Record(path, msgspec.json.decode)
    record.tell("n", CM, "1")
    assert not record.has_second("n", CM)
    record.note_second("n", CM, "another")
    assert not record.has_second("n", CM)
    record.note_second("n", CM, "1")
    record.acknowledge("n", CM, "5")
    record.close()
    again = Record(path, msgspec.json.decode)
    assert again.has_second("n", CM)
    assert again.seen("n", CM) == "5"
    again.tell("n", CM, "2")  # another object of that name
    assert not again.has_second("n", CM)
    again.close()
