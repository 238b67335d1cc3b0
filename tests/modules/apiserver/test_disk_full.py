"""A disk that is full, or fails: reads go on, writes are refused and go on when they can."""

from __future__ import annotations

import asyncio
import errno
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from modules.apiserver.catalog import Catalog
from modules.apiserver.http import server
from modules.apiserver.kinds.builtin import BUILTIN
from modules.apiserver.registry import cascade, event_expiry
from modules.apiserver.registry.bootstrap import open_cluster
from modules.apiserver.registry.deletion import AT_ONCE
from modules.apiserver.storage.revisions import Mark
from modules.apiserver.storage.store import Store
from supervisor.api import DiskFull, TemporaryFailure
from tests.modules.apiserver.api import Api
from tests.support.waiting import until

CONFIGMAPS = "/api/v1/namespaces/default/configmaps"
LARGE = {"v": "x" * 100_000}


@contextmanager
def no_more_pages(store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the file not grow: SQLite says then what it says on a full disk.

    What is tried each second needs no room in the file, and would succeed.
    """
    (pages,) = store._database.execute("PRAGMA page_count").fetchone()
    store._database.execute(f"PRAGMA max_page_count = {pages}")
    with monkeypatch.context() as patched:
        patched.setattr(store, "probe", lambda: None)
        yield
    store._database.execute("PRAGMA max_page_count = 1073741823")


@contextmanager
def failing(store: Store, monkeypatch: pytest.MonkeyPatch, code: int) -> Iterator[None]:
    def fail(*_: Any) -> None:
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = code
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(store, "_write", fail)
        yield


async def test_reads_go_on_and_writes_come_back_by_themselves(
    api: Api, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    store = api.server.store
    await api.create(CONFIGMAPS, metadata={"name": "a"}, data={"v": "1"})
    before = store.revision
    with no_more_pages(store, monkeypatch):
        for _ in range(3):
            body = {"metadata": {"name": "b"}, "data": LARGE}
            status = await api.call("POST", CONFIGMAPS, body, expect=507)
            assert status["reason"] == "InsufficientStorage"
            assert str(store.path) in status["message"]
            assert "disk full" in status["message"]
        await api.patch(f"{CONFIGMAPS}/a", {"data": LARGE}, expect=507)
        assert (await api.call("GET", f"{CONFIGMAPS}/a"))["data"] == {"v": "1"}
        listed = (await api.call("GET", CONFIGMAPS))["items"]
        assert [item["metadata"]["name"] for item in listed] == ["a", "kube-root-ca.crt"]
        assert store.revision == before
        assert "disk full" in store.trouble.reason
        async with api.session.get(f"{api.server.url}/readyz?verbose") as response:
            assert response.status == 200
            assert "[-]store: disk full" in await response.text()
    await api.create(CONFIGMAPS, metadata={"name": "b"}, data=LARGE)
    assert store.trouble.reason == ""
    said = [message for message in caplog.messages if str(store.path) in message]
    assert len(said) == 2
    assert "disk full" in said[0]
    assert "is written again" in said[1]


async def test_it_is_noticed_that_there_is_room_without_a_write(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = api.server.store
    with failing(store, monkeypatch, sqlite3.SQLITE_FULL):
        await api.call("POST", CONFIGMAPS, {"metadata": {"name": "a"}}, expect=507)
    await until(lambda: store.trouble.reason == "")


async def test_a_disk_that_fails_is_503(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    with failing(api.server.store, monkeypatch, sqlite3.SQLITE_IOERR_WRITE):
        status = await api.call("POST", CONFIGMAPS, {"metadata": {"name": "a"}}, expect=503)
    assert status["reason"] == "ServiceUnavailable"
    assert "check the disk" in status["message"]


async def test_what_runs_in_the_background_outlasts_it(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Old events are removed, and namespaces emptied, once there is room."""
    monkeypatch.setattr(cascade, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(server, "EVENTS_SECONDS", 0.01)
    store, registry = api.server.store, api.server.registry
    await api.create("/api/v1/namespaces", metadata={"name": "team"})
    configmaps = registry.catalog.find("", "v1", "configmaps")
    for index in range(AT_ONCE + 5):
        registry.create(configmaps, "team", {"metadata": {"name": f"c{index}"}})
    await api.create("/api/v1/namespaces/default/events", metadata={"name": "e"})
    registry.delete(
        registry.catalog.find("", "v1", "namespaces"), "", "team", cascade.deletion.Options()
    )
    monkeypatch.setattr(event_expiry, "LIFETIME", -10)
    tries: list[int] = []

    def fail(*_: Any) -> None:
        tries.append(1)
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorcode = sqlite3.SQLITE_FULL
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(store, "_write", fail)
        # The server's own sleeps its thirty seconds.
        removing = asyncio.create_task(api.server._remove_old_events())
        await until(lambda: len(tries) > 5)
        assert not removing.done()
        assert api.server._upkeep is not None
        assert not api.server._upkeep.done()
    await until(lambda: ("", "team") not in store.collection("namespaces").entries)
    await until(lambda: not store.collection("events").entries)
    removing.cancel()
    await asyncio.gather(removing, return_exceptions=True)


@pytest.mark.parametrize(
    "failure",
    [
        pytest.param(OSError(errno.ENOSPC, "No space left on device"), id="ENOSPC"),
        pytest.param(OSError(errno.EDQUOT, "Disk quota exceeded"), id="EDQUOT"),
    ],
)
def test_a_start_without_room_is_a_temporary_failure_with_the_path(
    tmp_path: Path, failure: OSError, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise failure

    path = tmp_path / "apiserver.db"
    with monkeypatch.context() as patched:
        patched.setattr(Mark, "reserve", fail)
        with pytest.raises(DiskFull, match=str(path)):
            Store(path)
    Store(path).close()  # neither locked nor damaged


def test_the_first_start_without_room_is_one_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What every cluster has cannot be written, as the file cannot grow."""
    store = Store(tmp_path / "apiserver.db")
    with no_more_pages(store, monkeypatch), pytest.raises(TemporaryFailure):
        open_cluster(store, Catalog(BUILTIN), "CA")
    open_cluster(store, Catalog(BUILTIN), "CA")
    store.close()


LIMITED = """
import resource, signal, sys
from pathlib import Path
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
from modules.apiserver.storage.store import Store
from supervisor.api import TemporaryFailure
try:
    Store(Path(sys.argv[1])).close()
except TemporaryFailure as failure:
    print(failure)
"""


@pytest.mark.parametrize("bytes_", [0, 4096])
def test_files_that_cannot_grow_are_told_with_their_path(tmp_path: Path, bytes_: int) -> None:
    """With the kernel's own refusal (EFBIG) in place of a full file system, which needs root."""
    path = tmp_path / "apiserver.db"
    found = subprocess.run(
        [sys.executable, "-c", LIMITED, str(path), str(bytes_)],
        capture_output=True,
        text=True,
        check=True,
        timeout=20,
    )
    assert f"cannot write to {path}" in found.stdout, found.stderr
    Store(path).close()
