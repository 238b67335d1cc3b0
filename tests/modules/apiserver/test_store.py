from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from modules.apiserver.catalog import Catalog
from modules.apiserver.kinds.builtin import BUILTIN
from modules.apiserver.meta.objects import Event, Json, make_entry
from modules.apiserver.storage.database import StoreError, StoreInUseError
from modules.apiserver.storage.history import History
from modules.apiserver.storage.store import Store

CATALOG = Catalog(BUILTIN)
CONFIGMAPS = CATALOG.find("", "v1", "configmaps")


def configmap(name: str, **data: str) -> Json:
    return {"metadata": {"name": name, "namespace": "default"}, "data": data}


def put(store: Store, name: str, **data: str) -> None:
    with store.transaction() as transaction:
        transaction.put(CONFIGMAPS, ("default", name), configmap(name, **data))


def opened(path: Path) -> Store:
    store = Store(path)
    store.load(CATALOG)
    return store


def test_what_was_stored_is_there_after_reopening(tmp_path: Path) -> None:
    store = opened(tmp_path / "a.db")
    put(store, "one", a="1")
    put(store, "two", b="2")
    with store.transaction() as transaction:
        deletion = transaction.remove(CONFIGMAPS, ("default", "two"), configmap("two"))
    store.close()

    store = opened(tmp_path / "a.db")
    entries = store.collection("configmaps").entries
    assert [entry.decode()["data"] for entry in entries.values()] == [{"a": "1"}]
    # The deletion had a revision too, and it is not given out again.
    assert store.revision > deletion.revision
    put(store, "three")
    assert entries["default", "three"].revision == store.revision
    store.close()


def test_an_exception_leaves_nothing_behind(tmp_path: Path) -> None:
    store = opened(tmp_path / "a.db")
    before = store.revision
    with pytest.raises(RuntimeError), store.transaction() as transaction:
        transaction.put(CONFIGMAPS, ("default", "x"), configmap("x"))
        assert transaction.get("configmaps", ("default", "x")) is not None
        raise RuntimeError
    assert not store.collection("configmaps").entries
    assert store.revision == before
    store.close()


def test_memory_does_not_run_ahead_of_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    store = opened(tmp_path / "a.db")
    put(store, "x", a="1")
    blocker = sqlite3.connect(tmp_path / "a.db", isolation_level=None)
    store._database.execute("PRAGMA busy_timeout = 10")
    blocker.execute("BEGIN IMMEDIATE")
    with pytest.raises(sqlite3.OperationalError):
        put(store, "x", a="2")
    blocker.execute("ROLLBACK")
    blocker.close()
    assert store.collection("configmaps").entries["default", "x"].decode()["data"] == {"a": "1"}
    assert store.collection("configmaps").history.end == 1
    put(store, "x", a="3")
    store.close()


def test_one_server_a_file(tmp_path: Path) -> None:
    store = Store(tmp_path / "a.db")
    with pytest.raises(StoreInUseError, match="another apiserver"):
        Store(tmp_path / "a.db")
    store.close()
    Store(tmp_path / "a.db").close()


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.db").write_bytes(b"nonsense" * 1000)
    with pytest.raises(StoreError, match=r"a\.db"):
        Store(tmp_path / "a.db")


def test_a_file_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    Store(tmp_path / "a.db").close()
    database = sqlite3.connect(tmp_path / "a.db")
    database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(StoreError, match="newer cloudcore"):
        Store(tmp_path / "a.db")


def test_checkpoint_moves_the_log_into_the_file(tmp_path: Path) -> None:
    store = opened(tmp_path / "a.db")
    before = (tmp_path / "a.db").stat().st_size
    for number in range(50):
        put(store, f"c{number}", data="x" * 5000)
    store.checkpoint()
    assert (tmp_path / "a.db").stat().st_size > before + 50 * 5000
    store.close()


def event(revision: int, size: int = 10) -> Event:
    obj = {"metadata": {"name": "x"}, "data": "x" * size}
    return Event("MODIFIED", make_entry(("", "x"), revision, obj, {}), None)


def test_history_forgets_the_oldest() -> None:
    history = History(5, most_events=3)
    for revision in (6, 7, 8, 9, 10):
        history.append(event(revision))
    assert history.oldest == 7
    assert history.position_after(6) is None
    position = history.position_after(8)
    assert position is not None
    assert [item.revision for item in history.read(position, 10**6) or ()] == [9, 10]
    assert history.position_after(10) == history.end
    assert history.read(0, 10**6) is None


def test_history_is_bounded_in_bytes() -> None:
    history = History(0, most_bytes=10_000)
    for revision in range(1, 101):
        history.append(event(revision, size=1000))
    assert history.oldest > 90
    # What is larger than the bound alone is still told once.
    history.append(event(101, size=20_000))
    assert history.oldest == 100
    assert len(history.read(history.end - 1, 1) or ()) == 1
