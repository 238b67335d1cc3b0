"""A store that is put back from a copy never takes a position of its lost life for its own."""

from __future__ import annotations

import itertools
import os
import shutil
import sqlite3
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modules.apiserver.catalog import Catalog
from modules.apiserver.kinds.builtin import BUILTIN
from modules.apiserver.storage.revisions import RESERVED, Mark
from modules.apiserver.storage.store import Store
from tests.modules.apiserver.api import Api

CATALOG = Catalog(BUILTIN)
CONFIGMAPS = CATALOG.find("", "v1", "configmaps")
PATH = "/api/v1/namespaces/default/configmaps"


class Life:
    """A store between a start and a stop, by a clock that the test sets."""

    def __init__(self, directory: Path, clock: int) -> None:
        self.path = directory / "apiserver.db"
        self.store = Store(self.path, clock=lambda: clock)
        self.store.load(CATALOG)

    def put(self, value: str) -> int:
        obj = {"metadata": {"name": "a", "namespace": "default"}, "data": {"v": value}}
        with self.store.transaction() as transaction:
            return transaction.put(CONFIGMAPS, ("default", "a"), obj).revision

    def goes_on_from(self, revision: int) -> bool:
        """Whether a watch from `revision` is accepted."""
        history = self.store.collection(CONFIGMAPS.storage).history
        return self.store.gave_out(revision) and history.position_after(revision) is not None

    def end(self) -> None:
        self.store.close()


def restore(copy: Path, path: Path) -> None:
    shutil.copyfile(copy, path)


@pytest.mark.parametrize("clock", [1_000_000_000, 2_000_000_000, 0], ids=["same", "later", "back"])
def test_positions_of_a_lost_life_are_refused_also_when_its_numbers_have_been_passed(
    tmp_path: Path, clock: int
) -> None:
    before = Life(tmp_path, 1_000_000_000)
    kept = before.put("kept")
    before.end()
    copy = tmp_path / "copy"
    shutil.copyfile(before.path, copy)
    lost = Life(tmp_path, 1_000_000_000)
    positions = [lost.store.revision, *(lost.put(f"lost {n}") for n in range(5))]
    assert all(map(lost.goes_on_from, positions))
    lost.end()

    restore(copy, lost.path)
    now = Life(tmp_path, clock)
    for _ in range(10):
        assert now.goes_on_from(kept)
        assert not any(map(now.goes_on_from, positions))
        assert now.put("new") not in positions
    now.end()


def test_what_a_copy_knows_goes_on_after_it_is_put_back(tmp_path: Path) -> None:
    first = Life(tmp_path, 1)
    position = first.put("x")
    first.end()
    copy = tmp_path / "copy"
    shutil.copyfile(first.path, copy)
    restore(copy, first.path)
    second = Life(tmp_path, 2)
    assert second.goes_on_from(position)
    assert second.goes_on_from(second.store.revision)
    quiet = second.store.revision
    second.end()
    third = Life(tmp_path, 3)
    assert third.goes_on_from(quiet)  # nobody has to list again for a restart
    third.end()


@settings(deadline=None, max_examples=60)
@given(
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("put"), st.integers(1, 5)),
            st.tuples(st.just("clock"), st.integers(-(10**9), 10**9)),
            st.tuples(st.just("copy"), st.just(0)),
            st.tuples(st.just("restore"), st.just(0)),
            st.tuples(st.just("restart"), st.just(0)),
        ),
        max_size=25,
    )
)
def test_no_revision_is_given_to_two_states(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]]
) -> None:
    directory = tmp_path_factory.mktemp("store")
    copy, clock, counter = directory / "copy", 10**15, itertools.count()
    given_out: set[int] = set()
    life = Life(directory, clock)
    for step, number in steps:
        if step == "put":
            for _ in range(number):
                revision = life.put(str(next(counter)))
                assert revision not in given_out
                given_out.add(revision)
            continue
        if step == "clock":
            clock += number
            continue
        life.end()
        if step == "copy":
            shutil.copyfile(life.path, copy)
        elif step == "restore" and copy.exists():
            restore(copy, life.path)
        life = Life(directory, clock)
    life.end()


def test_the_mark_is_raised_before_its_numbers_are_given_out(tmp_path: Path) -> None:
    file = os.open(tmp_path / "mark", os.O_RDWR | os.O_CREAT)
    mark = Mark(file)
    assert mark.first(last=7, clock=3) == 8
    assert mark.first(last=3, clock=7) == 8
    mark.reserve(8)
    assert Mark(file).first(0, 0) == 8 + RESERVED + 1
    mark.reserve(8 + RESERVED)
    assert Mark(file).first(0, 0) == 8 + RESERVED + 1
    mark.reserve(8 + RESERVED + 1)
    assert Mark(file).first(0, 0) == 8 + 2 * RESERVED + 2
    os.pwrite(file, b"nonsense", 0)
    assert Mark(file).first(1, 2) == 3
    os.close(file)


def test_a_file_of_before_this_goes_on_with_its_objects(tmp_path: Path) -> None:
    life = Life(tmp_path, 1)
    life.put("x")
    life.end()
    with sqlite3.connect(life.path) as database:
        database.execute("DELETE FROM revisions WHERE storage = ''")
        database.execute("UPDATE revisions SET revision = 5")
        database.execute("UPDATE objects SET revision = 5")
    database.close()
    (tmp_path / "apiserver.db.lock").unlink()
    life = Life(tmp_path, 10**15)
    assert life.goes_on_from(5)
    assert life.put("y") > 10**15
    life.end()


async def test_a_list_or_get_of_the_future_is_refused_as_kubernetes_does(api: Api) -> None:
    await api.create(PATH, metadata={"name": "a"})
    future = api.server.store.revision + 1
    for path in (PATH, f"{PATH}/a", f"{PATH}?watch=1&sendInitialEvents=true"):
        query = f"{'&' if '?' in path else '?'}resourceVersion={future}"
        status = await api.call("GET", path + query, expect=504)
        assert status["reason"] == "Timeout"
        assert "Too large resource version" in status["message"]
        assert status["details"]["retryAfterSeconds"] == 1
        assert status["details"]["causes"][0]["reason"] == "ResourceVersionTooLarge"
    for revision in ("", "0", str(future - 1), "1"):
        await api.call("GET", f"{PATH}?resourceVersion={revision}")


@pytest.mark.parametrize("offset", [1, 10**12])
async def test_a_watch_from_the_future_ends_with_410(api: Api, offset: int) -> None:
    revision = api.server.store.revision + offset
    async with api.watch(f"{PATH}?watch=1&resourceVersion={revision}") as watch:
        event = await watch.next()
        assert event["type"] == "ERROR"
        assert (event["object"]["code"], event["object"]["reason"]) == (410, "Expired")
        assert "put back from a copy" in event["object"]["message"]
        assert await watch.next() is None
