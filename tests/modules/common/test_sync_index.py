"""The index of ObjectSyncs: after `catch_up` it has all that others had written before.

Requests are carried out, answers arrive and events are shown one at a time, in any order.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modules.common.kube import (
    CLUSTEROBJECTSYNCS,
    OBJECTSYNCS,
    PODS,
    AlreadyExists,
    Invalid,
    Key,
    KubeClient,
    NotFound,
    Object,
    Page,
    Resource,
    Unreachable,
    WatchEvent,
    checked_watch,
)
from modules.common.pki.certificates import Pki
from modules.common.sync import write_barrier
from modules.common.sync.fenced_object_syncs import FencedObjectSyncs
from modules.common.sync.journal import Row
from modules.common.sync.record import EVERY_NODE, Record
from modules.common.sync.sync_form import CONTROLLER_LABEL, SENT, name_of, read_sync
from modules.common.sync.sync_index import CompactSyncs, SyncIndex, is_shortened
from tests.support.apiserver import embedded_api
from tests.support.aside import make_set_aside
from tests.support.slow_api import SlowApi
from tests.support.waiting import DEADLINE

BARRIER: Final = ("kubeedge", write_barrier.NAME)
NODE: Final = "edge-1.example.com"


def sync(uid: str, node: str = NODE, **more: Any) -> Object:
    metadata = {"name": name_of(node, uid), "namespace": "default", **more}
    spec = {"objectAPIVersion": "v1", "objectKind": "Pod", "objectName": f"pod-{uid}"}
    return {"metadata": metadata, "spec": spec, "status": {"objectResourceVersion": "7"}}


class World(SlowApi):
    """An API whose writes are carried out, and answered, when the test lets them."""

    def __init__(self) -> None:
        super().__init__(OBJECTSYNCS, "edgecontroller")
        self.states: dict[int, dict[Key, str]] = {1: {}}
        """the version of each row, by the revision from which on it was so"""
        self.writes: list[tuple[asyncio.Future[None], asyncio.Future[None]]] = []
        self.of_cluster = 1
        """the version of the barrier of the cluster, and what shows it"""
        self.show_of_cluster: Callable[[], None] = lambda: None
        self.count = 0
        """of the writes that were asked for"""
        self.asked: list[tuple[int, asyncio.Task[None]]] = []
        self.index = SyncIndex(
            cast("KubeClient", self),
            [PODS],
            make_set_aside(),
            namespace=None,
            of_barrier="kubeedge",
            not_of="devicecontroller",
        )
        for reflector in self.index.reflectors:
            reflector._backoff = cast("Any", SimpleNamespace(next=lambda: 0.0, reset=lambda: None))

    # The client

    async def pages(self, resource: Resource, *_: Any, **__: Any) -> AsyncGenerator[Page]:
        if resource is CLUSTEROBJECTSYNCS:  # of which nothing is slow
            yield Page([self._of_cluster()], str(self.of_cluster))
            return
        async for page in super().pages(resource):
            yield page

    async def follow(
        self, resource: Resource, namespace: Any, on_event: Any, **options: Any
    ) -> None:
        if resource is CLUSTEROBJECTSYNCS:
            self.show_of_cluster = lambda: on_event(WatchEvent("MODIFIED", self._of_cluster()))
            if int(options["resource_version"]) < self.of_cluster:
                self.show_of_cluster()
        await super().follow(resource, namespace, on_event, **options)

    def _of_cluster(self) -> Object:
        return {"metadata": {"name": BARRIER[1], "resourceVersion": str(self.of_cluster)}}

    async def patch(self, resource: Resource, name: str, patch: Object, *_: Any) -> Object:
        if resource is CLUSTEROBJECTSYNCS:
            self.of_cluster += 1
            self.show_of_cluster()
            return self._of_cluster()
        return await self._written(name, patch, exists=True)

    async def create(self, _: Resource, obj: Object, *__: Any) -> Object:
        return await self._written(obj["metadata"]["name"], obj, exists=False)

    async def _written(self, name: str, obj: Object, *, exists: bool) -> Object:
        loop = asyncio.get_running_loop()
        done, arrived = loop.create_future(), loop.create_future()
        self.writes.append((done, arrived))
        self.count += 1
        await done
        if (BARRIER in self.objects) != exists:
            raise NotFound(404, "NotFound", name) if exists else AlreadyExists(409, "", name)
        metadata = {**obj["metadata"], "name": name, "namespace": BARRIER[0]}
        self.put({"metadata": metadata})
        version = str(self.revision)
        await arrived
        return {"metadata": {"resourceVersion": version}}

    # What happens

    def change(self, name: str) -> None:
        self.put(sync(name))
        self._note()

    def delete(self, name: str) -> None:
        self.remove(("default", name_of(NODE, name)))
        self._note()

    def lose_the_barrier(self) -> None:
        """Delete it, as KubeEdge's cloud does with what is of no node."""
        self.remove(BARRIER)
        self._note()

    def carry_out(self) -> None:
        for done, _ in self.writes:
            if not done.done():
                done.set_result(None)
                return

    def answer_write(self) -> None:
        for done, arrived in self.writes:
            if done.done() and not arrived.done():
                arrived.set_result(None)
                return

    def ask(self) -> None:
        self.asked.append((self.revision, asyncio.create_task(self.index.catch_up())))

    def _note(self) -> None:
        rows = (item for item in self.objects.items() if item[0] != BARRIER)
        self.states[self.revision] = {key: obj["metadata"]["resourceVersion"] for key, obj in rows}

    # What is to be

    def check(self) -> None:
        """Compare the index with the API at all times since each question that was answered."""
        found = {
            (obj["metadata"]["namespace"], obj["metadata"]["name"]): obj["metadata"][
                "resourceVersion"
            ]
            for obj in self.index.of_node(NODE)
        }
        for revision, task in self.asked:
            if task.done():
                task.result()
                then = max(at for at in self.states if at <= revision)
                later = [state for at, state in self.states.items() if at >= then]
                assert found in later, f"asked at {revision}"

    async def finish(self) -> None:
        """Let everything happen; then all questions are answered."""
        async with asyncio.timeout(DEADLINE):
            self.list_arrives()
            await self.settle()
            while not all(task.done() for _, task in self.asked):
                self.carry_out()
                self.answer_write()
                await self.settle()
                self.show(len(self.log))
                await self.settle()
            self.show(len(self.log))
        self.check()
        found = {obj["metadata"]["name"] for obj in self.index.of_node(NODE)}
        assert found == {name for _, name in self.objects} - {write_barrier.NAME}


@asynccontextmanager
async def running() -> AsyncIterator[World]:
    world = World()
    tasks = [asyncio.create_task(each.run()) for each in world.index.reflectors]
    try:
        await world.settle()
        yield world
        assert not any(task.done() for task in tasks)
    finally:
        for task in (*tasks, *(task for _, task in world.asked)):
            task.cancel()
        await asyncio.wait(tasks)


async def live(steps: list[tuple[Any, ...]]) -> None:
    async with running() as world:
        for step, *arguments in steps:
            getattr(world, step)(*arguments)
            await world.settle()
            world.check()
        await world.finish()


names = st.sampled_from("ab")
happening = st.one_of(
    st.tuples(st.just("change"), names),
    st.tuples(st.just("delete"), names),
    st.tuples(st.just("ask")),
    st.tuples(st.just("ask")),
    st.tuples(st.just("carry_out")),
    st.tuples(st.just("carry_out")),
    st.tuples(st.just("answer_write")),
    st.tuples(st.just("answer_write")),
    st.tuples(st.just("show"), st.integers(1, 3)),
    st.tuples(st.just("show"), st.integers(1, 3)),
    st.tuples(st.just("expire")),
    st.tuples(st.just("expire_slowly")),
    st.tuples(st.just("list_arrives")),
    st.tuples(st.just("lose_the_barrier")),
)


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@given(steps=st.lists(happening, min_size=5, max_size=60))
@settings(max_examples=300, deadline=None)
def test_whoever_has_caught_up_knows_what_was_written_before(
    runner: asyncio.Runner, steps: list[tuple[Any, ...]]
) -> None:
    runner.run(live(steps))


ASK, DO, ANSWER, SHOW = ("ask",), ("carry_out",), ("answer_write",), ("show", 9)
CHANGE = ("change", "a")


@pytest.mark.parametrize(
    "steps",
    [
        pytest.param([ASK, DO, ANSWER, DO, ANSWER, SHOW, CHANGE, ASK], id="an-earlier-write"),
        pytest.param([ASK, DO, DO, CHANGE, ASK, ANSWER, SHOW], id="a-write-on-its-way"),
        pytest.param(
            [ASK, DO, ANSWER, DO, SHOW, CHANGE, ASK, ANSWER], id="shown-before-it-is-told"
        ),
        pytest.param([CHANGE, ASK, ("expire_slowly",), DO, ANSWER, DO, ANSWER], id="a-list"),
    ],
)
def test_orders_of_which_each_has_been_wrong(
    runner: asyncio.Runner, steps: list[tuple[Any, ...]]
) -> None:
    runner.run(live(steps))


async def test_whoever_comes_while_a_write_is_on_its_way_shares_the_next_one() -> None:
    async with running() as world:
        world.put({"metadata": {"name": BARRIER[1], "namespace": BARRIER[0]}})
        for _ in range(50):
            world.ask()
        await world.settle()
        assert world.count == 1
        for _ in range(5):
            world.ask()
            await world.settle()
        assert world.count == 1
        await world.finish()
        assert world.count == 2


async def test_a_barrier_that_another_replica_makes_first_is_written() -> None:
    async with running() as world:
        world.ask()
        await world.settle()
        world.carry_out()  # there is none
        await world.settle()
        world.put({"metadata": {"name": BARRIER[1], "namespace": BARRIER[0]}})
        await world.finish()
        assert world.count == 3


async def test_who_gives_up_keeps_nobody_from_catching_up() -> None:
    async with running() as world:
        world.ask()
        world.ask()
        await world.settle()
        world.asked[0][1].cancel()
        await world.settle()
        del world.asked[0]
        await world.finish()


async def test_after_a_restore_of_the_api_an_earlier_version_is_waited_for() -> None:
    """Its versions begin again below those that the watch has shown before."""
    async with running() as world:
        for _ in range(9):
            world.change("a")
        world.ask()
        await world.finish()
        world.asked.clear()
        world.revision, world.objects, world.log = 1, {}, []
        world.change("b")
        world.ask()
        for _ in range(2):  # it is written, and made
            await world.settle()
            world.carry_out()
            world.answer_write()
        await world.settle()
        ((_, catching_up),) = world.asked
        assert not catching_up.done()
        world.expire()
        await world.settle()
        await catching_up
        assert {obj["metadata"]["name"] for obj in world.index.of_node(NODE)} == {f"{NODE}.b"}
        world.asked.clear()


async def test_what_a_restored_api_says_otherwise_than_before_is_not_sure() -> None:
    """A node may have acknowledged something later, or have deleted what is there again."""

    def versions(world: World) -> dict[str, str]:
        found = [read_sync(obj) for obj in world.index.of_node(NODE)]
        return {each.name: each.version for each in found if each}

    async with running() as world:
        for name in ("same", "older", "deleted"):
            world.change(name)
        same, copy = world.objects["default", name_of(NODE, "same")], dict(world.objects)
        world.change("older")
        world.delete("deleted")
        world.expire()
        await world.settle()
        assert versions(world) == {"pod-same": "7", "pod-older": "7"}
        world.objects = copy
        world.expire()
        await world.settle()
        assert versions(world) == {"pod-same": "7", "pod-older": "0", "pod-deleted": "0"}
        assert world.objects["default", name_of(NODE, "same")] is same
        world.change("older")  # as who sends it anew does when it is acknowledged
        world.expire()
        await world.settle()
        assert versions(world) == {"pod-same": "7", "pod-older": "7", "pod-deleted": "0"}


async def test_a_watch_that_shows_nothing_is_an_error(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    monkeypatch.setattr(checked_watch, "_PATIENCE", 0.01)
    async with running() as world:
        world.put({"metadata": {"name": BARRIER[1], "namespace": BARRIER[0]}})
        world.ask()
        await world.settle()
        world.carry_out()
        world.answer_write()
        silent = world.watch
        with pytest.raises(Unreachable, match="the watch of objectsyncs has not shown"):
            await world.asked[0][1]
        await world.settle()
        assert world.watch is not None
        assert world.watch is not silent  # it may be that of a server that hangs
        assert caplog.text.count("the watch of objectsyncs has not shown") == 1
        monkeypatch.setattr(checked_watch, "_PATIENCE", DEADLINE)
        world.asked.clear()
        world.ask()
        await world.finish()
        assert "the watch of objectsyncs shows again what is written" in caplog.text


async def indexed(*objects: Object) -> SyncIndex:
    """Return an index of what is listed."""
    async with running() as world:
        for number, each in enumerate(objects):
            world.objects["", str(number)] = each
        world.expire()
        await world.settle()
        return world.index


async def test_an_objectsync_of_a_node_says_in_the_index_what_it_says_in_the_api() -> None:
    rows = [sync("u-1", resourceVersion="1"), sync("u-2", resourceVersion="2")]
    of_all = sync("u-3", EVERY_NODE, resourceVersion="3")
    index = await indexed(*rows, of_all, sync("u-4", "edge-1", resourceVersion="4"))
    found = index.of_node(NODE)
    assert [read_sync(obj) for obj in found] == [read_sync(obj) for obj in rows]
    assert [obj["metadata"]["resourceVersion"] for obj in found] == ["1", "2"]
    assert [read_sync(obj) for obj in index.of_node(EVERY_NODE)] == [read_sync(of_all)]
    assert index.of_node("edge") == []


async def test_what_says_nothing_of_a_kind_that_is_kept_is_not_kept() -> None:
    other, odd = sync("u-1", resourceVersion="1"), sync("u-2", resourceVersion="2")
    other["spec"]["objectKind"] = "Device"
    odd["spec"]["objectName"] = 5
    malformed = {"metadata": ["no", "metadata"]}
    index = await indexed(other, odd, malformed, sync("u-3", resourceVersion="3"))
    assert [obj["metadata"]["name"] for obj in index.of_node(NODE)] == [f"{NODE}.u-3"]


async def test_a_long_annotation_is_to_be_read() -> None:
    short = sync("u-1", resourceVersion="1", annotations={SENT: '"modbus"', "other": "x"})
    long = sync("u-2", resourceVersion="2", annotations={SENT: f'"{"x" * 1000}"'})
    first, second = (await indexed(short, long)).of_node(NODE)
    assert first["metadata"]["annotations"] == {SENT: '"modbus"'}
    assert (is_shortened(first), is_shortened(second)) == (False, True)
    assert len(str(second)) < 500


async def test_of_a_row_that_cannot_be_written_a_long_annotation_is_read_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = sync("u-1", resourceVersion="1", annotations={SENT: f'"{"x" * 1000}"'})
    long["status"]["objectResourceVersion"] = "0"
    index = await indexed(long)
    read: list[str] = []

    async def refuses(*_: Any) -> Object:
        raise Invalid(422, "Invalid", "no such annotation")

    async def get(_: Resource, name: str, namespace: str) -> Object:
        read.append(f"{namespace}/{name}")
        return long

    async def catch_up() -> None:
        """Nothing is written."""

    client = cast("KubeClient", SimpleNamespace(module="x", patch=refuses, get=get))
    monkeypatch.setattr(index, "catch_up", catch_up)
    with closing(Record(tmp_path / "record.jsonl")) as record:
        syncs = FencedObjectSyncs(
            client, record, {"pod": PODS}, index, lambda _: True, on_foreign=lambda *_: None
        )
        await syncs.load_node(NODE)
        row = record.row(NODE, ("pod", "default", "pod-u-1"))
    assert row
    assert row.payload == "x" * 1000
    assert read == [f"default/{NODE}.u-1"]


async def test_the_api_server_leaves_out_what_the_other_controller_has_made(
    tmp_path: Path, pki: Pki
) -> None:
    async with embedded_api(tmp_path, pki) as api:
        index = SyncIndex(
            api,
            [PODS],
            make_set_aside(),
            namespace=None,
            of_barrier="default",
            not_of="devicecontroller",
        )
        for number, labels in enumerate(
            [{}, {CONTROLLER_LABEL: "edgecontroller"}, {CONTROLLER_LABEL: "devicecontroller"}]
        ):
            await api.create(OBJECTSYNCS, sync(f"u-{number}", labels=labels), "default")
        tasks = [asyncio.create_task(each.run()) for each in index.reflectors]
        await index.catch_up()
        await api.create(OBJECTSYNCS, sync("u-3", labels=labels), "default")
        await index.catch_up()
        found = {obj["metadata"]["name"] for obj in index.of_node(NODE)}
        assert found == {f"{NODE}.u-0", f"{NODE}.u-1"}
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


keys = st.tuples(st.sampled_from(["", "default"]), st.sampled_from(["a.1", "a.2", "b.c.1"]))


@given(steps=st.lists(st.tuples(keys, st.none() | st.integers(0, 9)), max_size=40))
def test_the_store_is_a_mapping_like_any_other(steps: list[tuple[Key, int | None]]) -> None:
    store, plain = CompactSyncs(), dict[Key, Object]()
    for key, version in steps:
        if version is None:
            assert store.pop(key, None) == plain.pop(key, None)
        else:
            obj = _kept(key, str(version))
            store[key] = obj
            plain[key] = obj
        assert len(store) == len(plain)
        assert len(store._nodes) == len({name.rpartition(".")[0] for _, name in plain})
        assert dict(store) == plain
        of_node = [obj for (_, name), obj in plain.items() if name.startswith("a.")]
        assert sorted(store.of_node("a"), key=str) == sorted(of_node, key=str)


def _kept(key: Key, version: str) -> Object:
    namespace, name = key
    metadata = {"name": name, "resourceVersion": version}
    if namespace:
        metadata["namespace"] = namespace
    spec = {"objectAPIVersion": "v1", "objectKind": "Pod", "objectName": "p"}
    return {"metadata": metadata, "spec": spec, "status": {"objectResourceVersion": version}}


async def test_a_row_of_a_reading_that_has_failed_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the record would be taken for what has been read, and it is older."""
    changed, weak = sync("u-1", resourceVersion="2"), sync("u-2", resourceVersion="3")
    weak["status"]["objectResourceVersion"] = "0"
    index = await indexed(changed, weak)
    failures = [Unreachable("no answer")]

    async def patch(*_: Any) -> Object:
        for failure in failures[:1]:
            failures.clear()
            raise failure
        return weak

    async def catch_up() -> None:
        """Nothing is written."""

    client = cast("KubeClient", SimpleNamespace(module="x", patch=patch))
    monkeypatch.setattr(index, "catch_up", catch_up)
    item = ("pod", "default", "pod-u-1")
    with closing(Record(tmp_path / "record.jsonl")) as record:
        record.put(NODE, item, Row("u-1", seen="hash@4"))  # of before another replica had the node
        syncs = FencedObjectSyncs(
            client, record, {"pod": PODS}, index, lambda _: True, on_foreign=lambda *_: None
        )
        with pytest.raises(Unreachable):
            await syncs.load_node(NODE)
        await syncs.load_node(NODE)
        assert record.seen(NODE, item) == "7"
