"""Objects of a replica: whole if a node needs them, else an outline.

What the store says of an object never goes back, whichever comes first, what was read or the watch.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modules.common.kube import CONFIGMAPS, Key, KubeClient, WatchEvent, key_of
from modules.common.sync import outlines
from modules.common.sync.outlines import Outline, OutlineReflector
from modules.edgecontroller.objects import keeping, version_of
from tests.modules.edgecontroller.objects import Json, configmap
from tests.support.aside import make_set_aside
from tests.support.slow_api import SlowApi
from tests.support.waiting import DEADLINE

NAMES = ("a", "b")


class World(SlowApi):
    """An API, and what nodes need of it."""

    def __init__(self) -> None:
        super().__init__(CONFIGMAPS, "edgecontroller")
        self.needed: set[Key] = set()
        self.waiting: set[Key] = set()
        """what was wanted and not read yet"""
        self.told: list[tuple[str, str]] = []
        self.gone: set[str] = set()
        self.faults: list[str] = []
        self.set_aside = make_set_aside()
        self.own = OutlineReflector(
            cast("KubeClient", self),
            CONFIGMAPS,
            self._told,
            keep=self._keep,
            outline_of=Outline.of,
            is_needed=self.needed.__contains__,
            on_read=self._on_read,
            set_aside=self.set_aside,
            backoff=cast("Any", SimpleNamespace(next=lambda: 0.0, reset=lambda: None)),
        )

    def _keep(self, obj: Json) -> Json | None:
        outline = Outline.of(obj)
        kept = keeping(CONFIGMAPS)(obj) if key_of(outline) in self.needed else outline
        return None if obj.get("foreign") else kept

    def _told(self, event: WatchEvent) -> None:
        uid, version = event.object["metadata"]["uid"], version_of(event.object)
        self.told.append((event.type, version))
        if event.type == "DELETED":
            self.gone.add(uid)
        elif uid in self.gone:
            self.faults.append(f"{uid} has ended, and comes again")
        elif event.old is not None and int(version_of(event.old)) >= int(version):
            self.faults.append(f"{uid} goes back to {version}")

    def _on_read(self, key: Key) -> None:
        """Decide again, as nodes do that wait."""
        self.waiting.discard(key)
        self.decide(key)

    def decide(self, key: Key) -> None:
        waits = isinstance(self.own.store.get(key), Outline) and key not in self.own.aside
        if key in self.needed and waits:
            self.waiting.add(key)
            self.own.want(key)

    def change(self, name: str, **more: Any) -> None:
        if "foreign" in self.objects.get(("default", name), ()):
            self.delete(name)
        self.put(configmap(name, v=str(self.revision + 1), **more))

    def become_foreign(self, name: str) -> None:
        """Make it one that is not kept at all."""
        if ("default", name) in self.objects:
            self.put({**configmap(name), "foreign": True})

    def delete(self, name: str) -> None:
        self.remove(("default", name))

    def need(self, name: str) -> None:
        self.needed.add(("default", name))
        self.decide(("default", name))

    def need_no_more(self, name: str) -> None:
        key = "default", name
        if key in self.needed:
            self.needed.discard(key)
            self.own.reduce(key)

    # What is to be

    def check(self) -> None:
        assert not self.faults
        for key, obj in self.own.store.items():
            if isinstance(obj, Outline):
                assert key not in self.needed or key in self.waiting or key in self.own.aside
            else:
                assert key in self.needed, f"{key} is whole for nobody"
                assert obj["data"]["v"] == version_of(obj)

    async def finish(self) -> None:
        """Let everything arrive; then the store is what the API has."""
        async with asyncio.timeout(DEADLINE):
            await self.all_arrives(lambda: self.waiting)
        self.check()
        kept = {key: obj for key, obj in self.objects.items() if "foreign" not in obj}
        found = {key: version_of(obj) for key, obj in self.own.store.items()}
        assert found == {key: version_of(obj) for key, obj in kept.items()}
        whole = {key for key, obj in self.own.store.items() if not isinstance(obj, Outline)}
        assert whole == self.needed & kept.keys()


async def live(steps: list[tuple[Any, ...]]) -> World:
    world = World()
    running = asyncio.create_task(world.own.run())
    try:
        await world.settle()
        for step, *arguments in steps:
            getattr(world, step)(*arguments)
            await world.settle()
            assert not running.done(), running.exception()
            world.check()
        await world.finish()
    finally:
        running.cancel()
        await asyncio.wait((running,))
    return world


numbers = st.integers(0, 3)
names = st.sampled_from(NAMES)
happening = st.one_of(
    st.tuples(st.just("change"), names),
    st.tuples(st.just("change"), names),
    st.tuples(st.just("delete"), names),
    st.tuples(st.just("need"), names),
    st.tuples(st.just("need"), names),
    st.tuples(st.just("need_no_more"), names),
    st.tuples(st.just("answer"), numbers),
    st.tuples(st.just("arrive"), numbers),
    st.tuples(st.just("arrive"), numbers),
    st.tuples(st.just("show"), st.integers(1, 4)),
    st.tuples(st.just("show"), st.integers(1, 4)),
    st.tuples(st.just("expire")),
    st.tuples(st.just("expire_slowly")),
    st.tuples(st.just("list_arrives")),
    st.tuples(st.just("become_foreign"), names),
)


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outlines, "_AGAIN", 0.0)


@given(steps=st.lists(happening, min_size=5, max_size=60))
@settings(max_examples=400, deadline=None)
def test_whatever_comes_first_the_store_does_not_go_back(
    runner: asyncio.Runner, steps: list[tuple[Any, ...]]
) -> None:
    runner.run(live(steps))


CHANGED, GONE, NEEDED = ("change", "a"), ("delete", "a"), ("need", "a")
ANSWERED, ARRIVES, SHOWN = ("answer", 0), ("arrive", 0), ("show", 1)
SLOW, LISTED = ("expire_slowly",), ("list_arrives",)


@pytest.mark.parametrize(
    "steps",
    [
        pytest.param([CHANGED, NEEDED, SHOWN], id="what-is-needed-comes-whole-with-the-watch"),
        pytest.param([CHANGED, SHOWN, NEEDED, ANSWERED, ARRIVES], id="it-is-read"),
        pytest.param(
            [CHANGED, SHOWN, NEEDED, CHANGED, CHANGED, ANSWERED, ARRIVES, SHOWN, SHOWN],
            id="what-was-read-is-ahead-of-the-watch",
        ),
        pytest.param(
            [CHANGED, SHOWN, NEEDED, ANSWERED, CHANGED, SHOWN, ARRIVES],
            id="the-watch-is-ahead-of-what-was-read",
        ),
        pytest.param(
            [CHANGED, SHOWN, NEEDED, GONE, CHANGED, ANSWERED, ARRIVES, SHOWN, SHOWN],
            id="its-successor-was-read",
        ),
        pytest.param(
            [CHANGED, SHOWN, NEEDED, CHANGED, GONE, ANSWERED, ARRIVES, SHOWN, SHOWN],
            id="it-is-gone-when-it-is-read",
        ),
        pytest.param(
            [CHANGED, SHOWN, NEEDED, ANSWERED, GONE, SHOWN, ARRIVES], id="it-is-gone-when-it-comes"
        ),
        pytest.param(
            [CHANGED, SHOWN, NEEDED, ANSWERED, ("need_no_more", "a"), ARRIVES],
            id="it-is-needed-no-more-when-it-comes",
        ),
        pytest.param(
            [CHANGED, SHOWN, NEEDED, SLOW, CHANGED, ANSWERED, ARRIVES, LISTED],
            id="what-was-read-is-ahead-of-a-list",
        ),
        pytest.param(
            [CHANGED, SHOWN, NEEDED, ANSWERED, CHANGED, SLOW, LISTED, ARRIVES],
            id="a-list-is-ahead-of-what-was-read",
        ),
        pytest.param(
            [CHANGED, SHOWN, NEEDED, GONE, SLOW, CHANGED, ANSWERED, ARRIVES, LISTED],
            id="its-successor-was-read-while-all-is-listed",
        ),
        pytest.param(
            [CHANGED, SHOWN, NEEDED, ("become_foreign", "a"), ANSWERED, ARRIVES, SHOWN],
            id="it-is-none-of-those-that-are-kept-when-it-is-read",
        ),
        pytest.param(
            [NEEDED, CHANGED, SHOWN, ("need_no_more", "a")], id="what-is-needed-no-more-is-reduced"
        ),
    ],
)
async def test_each_order(steps: list[tuple[Any, ...]]) -> None:
    await live(steps)


async def test_each_change_is_told_once(runner: asyncio.Runner) -> None:
    world = await live([CHANGED, SHOWN, NEEDED, CHANGED, ANSWERED, ARRIVES, SHOWN, CHANGED, SHOWN])
    assert world.told == [("ADDED", "2"), ("MODIFIED", "3"), ("MODIFIED", "4")]


@pytest.fixture
async def world() -> Any:
    world = World()
    running = asyncio.create_task(world.own.run())
    await world.settle()
    yield world
    running.cancel()
    await asyncio.wait((running,))


A = "default", "a"


async def test_what_cannot_be_used_is_set_aside_and_waited_for_no_longer(world: World) -> None:
    world.change("a", bad=5)
    world.show(1)
    assert world.set_aside.count == 0, "nobody needs it"
    world.need("a")
    await world.settle()
    world.answer(0)
    world.arrive(0)
    await world.settle()
    assert world.set_aside.count == 1
    assert A not in world.waiting
    world.change("a")
    world.show(1)
    assert world.set_aside.count == 0
    assert world.own.store[A]["data"] == {"v": "3"}


async def test_a_read_that_cannot_succeed_is_set_aside(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: Any) -> Json:
        raise RuntimeError("a bug")

    monkeypatch.setattr(world, "get", fail)
    world.change("a")
    world.show(1)
    world.need("a")
    await world.settle()
    assert A in world.own.aside
    assert A not in world.waiting


@pytest.mark.parametrize("happens", ["delete", "become_foreign"])
async def test_what_is_there_no_more_is_not_read_again_at_once(
    world: World, monkeypatch: pytest.MonkeyPatch, happens: str
) -> None:
    monkeypatch.setattr(outlines, "_AGAIN", 1000.0)
    world.change("a")
    world.show(1)
    world.need("a")
    await world.settle()
    getattr(world, happens)("a")
    world.answer(0)
    world.arrive(0)
    await world.settle()
    assert not world.reads
    world.show(1)
    assert world.own.store == {}


@pytest.mark.parametrize(
    "metadata", [None, [], {"name": 5}, {"name": ["a"], "resourceVersion": {}}, {"uid": 7}]
)
async def test_a_malformed_object_that_nobody_needs_is_set_aside(
    world: World, metadata: Any, caplog: pytest.LogCaptureFixture
) -> None:
    world.change("a")
    world.log.append((3, WatchEvent("ADDED", {"metadata": metadata})))
    world.revision = 3
    world.change("b")
    world.show(3)
    assert "metadata" in caplog.text
    assert "bug" not in caplog.text
    assert set(world.own.store) == {A, ("default", "b")}


async def test_an_outline_has_nothing_of_the_content(world: World) -> None:
    world.change("a", password="hidden")
    world.show(1)
    assert world.own.store[A] == {
        "metadata": {"namespace": "default", "name": "a", "uid": "u2", "resourceVersion": "2"}
    }
