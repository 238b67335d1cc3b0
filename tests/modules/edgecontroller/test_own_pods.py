"""The pods that a replica keeps: those of its nodes, whatever comes first, list or watch.

What the store has of a node is at every moment exactly what the API had at one, and that moment
never goes back.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import nullcontext, suppress
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modules.common.kube import (
    PODS,
    Gone,
    Key,
    KubeClient,
    KubeError,
    Page,
    Unreachable,
    WatchEvent,
)
from modules.edgecontroller.downstream import own_pods
from modules.edgecontroller.downstream.own_pods import OwnPods
from modules.edgecontroller.objects import keeping

from .objects import Json, pod

NODES = ("n1", "n2")
NAMES = ("a", "b", "c")

#: Turns of the event loop after which nothing more happens by itself.
_TURNS = 16

State = dict[Key, tuple[str, str, str]]


def essence(obj: Json) -> tuple[str, str, str]:
    metadata = obj["metadata"]
    return obj["spec"]["nodeName"], metadata["uid"], metadata["resourceVersion"]


class Asked:
    """A list that was asked for: it is made at one time and arrives at another."""

    def __init__(self, node: str) -> None:
        self.node = node
        """empty: of all pods"""
        self.pages: list[Page] = []
        self.arrived: asyncio.Queue[Page | Exception] = asyncio.Queue()


class World:
    """An API whose lists and watch the test lets arrive, and the nodes of one replica."""

    def __init__(self) -> None:
        self.revision = 1
        self.states: list[State] = [{}, {}]
        """by revision"""
        self.pods: dict[Key, Json] = {}
        self.log: list[tuple[int, WatchEvent]] = []
        self.asked: list[Asked] = []
        self.sizes: list[int] = []
        """of the pages that were asked for"""
        self.watch: asyncio.Future[None] | None = None
        self.on_event: Callable[[WatchEvent], None]
        self.position = 1
        """what the watch has shown"""
        self.loading: dict[str, asyncio.Task[None]] = {}
        self.connected: dict[str, bool] = {}
        """nodes that are loaded or being loaded, and whether they are of v1.1"""
        self.gone: set[str] = set()
        """uids of pods whose end was told"""
        self.health = SimpleNamespace(
            pause=self.pause, served=lambda _: None, failed=lambda *_: None
        )
        self.module = "edgecontroller"
        self.own = OwnPods(
            cast("KubeClient", self),
            PODS,
            self.told,
            keep=keeping(PODS),
            backoff=cast("Any", SimpleNamespace(next=lambda: 0.0, reset=lambda: None)),
            field_selector="spec.nodeName!=",
        )

    async def pause(self, *_: Any, **__: Any) -> None:
        await asyncio.sleep(0)

    def told(self, event: WatchEvent) -> None:
        """Check what handlers are told: nothing of a pod goes back, none comes again."""
        uid = event.object["metadata"]["uid"]
        if event.type == "DELETED":
            self.gone.add(uid)
            return
        assert uid not in self.gone, f"{uid} has ended, and comes again"
        if event.old is not None:
            before, after = essence(event.old)[2], essence(event.object)[2]
            assert int(before) < int(after)

    # The client

    async def pages(
        self, *_: Any, field_selector: str = "", page_size: int = 2, **__: Any
    ) -> AsyncGenerator[Page]:
        node = field_selector.removeprefix("spec.nodeName=")
        asked = Asked("" if node == field_selector else node)
        self.sizes.append(page_size)
        self.asked.append(asked)
        for _number in range(1 if asked.node else 2):
            page = await asked.arrived.get()
            if isinstance(page, Exception):
                raise page
            yield page

    async def follow(
        self, _: Any, __: Any, on_event: Callable[[WatchEvent], None], **options: Any
    ) -> None:
        self.position = int(options["resource_version"])
        self.on_event = on_event
        self.watch = asyncio.get_running_loop().create_future()
        try:
            await self.watch
        finally:
            self.watch = None

    # What happens to pods

    def change(self, name: str, node: str) -> None:
        """Create a pod, or change or delete what is there: if it is on that node, or else."""
        key = "default", name
        before = self.pods.get(key)
        if before is None:
            self._write("ADDED", pod(name, node, uid=f"u{self.revision}"))
        elif before["spec"]["nodeName"] == node:
            self._write("MODIFIED", before)
        else:
            self._write("DELETED", before)

    def _write(self, type_: Any, before: Json) -> None:
        self.revision += 1
        metadata = {**before["metadata"], "resourceVersion": str(self.revision)}
        obj = {**before, "metadata": metadata}
        key = "default", metadata["name"]
        state = dict(self.states[-1])
        self.pods.pop(key, None)
        state.pop(key, None)
        if type_ != "DELETED":
            self.pods[key] = obj
            state[key] = essence(obj)
        self.states.append(state)
        self.log.append((self.revision, WatchEvent(type_, obj)))

    # What happens to lists and the watch

    def make(self, number: int, back: int = 0) -> None:
        """Make a list that was asked for, as of now; of a node, maybe as of before."""
        waiting = [asked for asked in self.asked if not asked.pages]
        if not waiting:
            return
        asked = waiting[number % len(waiting)]
        revision = max(1, self.revision - back) if asked.node else self.revision
        state = self.states[revision]
        found = [_pod(key, value) for key, value in state.items() if asked.node in ("", value[0])]
        half = len(found) if asked.node else (len(found) + 1) // 2
        asked.pages = [Page(found[:half], str(revision)), Page(found[half:], str(revision))]

    def arrive(self, number: int) -> None:
        made = [asked for asked in self.asked if asked.pages]
        if made:
            asked = made[number % len(made)]
            asked.arrived.put_nowait(asked.pages.pop(0))
            if asked.node or not asked.pages:
                self.asked.remove(asked)

    def fail(self, number: int) -> None:
        if self.asked:
            asked = self.asked.pop(number % len(self.asked))
            asked.arrived.put_nowait(Unreachable("away"))

    def show(self, count: int) -> None:
        """Let the watch show some events."""
        for revision, event in self.log:
            if self.watch and self.position < revision and count:
                self.position = revision
                count -= 1
                self.on_event(event)

    def end(self) -> None:
        if self.watch and not self.watch.done():
            self.watch.set_result(None)

    def expire(self) -> None:
        if self.watch and not self.watch.done():
            self.watch.set_exception(Gone(410, "Expired", "too old"))

    # What happens to nodes

    def connect(self, node: str, is_of_v1_1: bool) -> None:
        if self.connected.get(node) != is_of_v1_1:
            self.gone.clear()  # others may be dropped, and come again
        self.connected[node] = is_of_v1_1
        if task := self.loading.pop(node, None):
            task.cancel()
        self.loading[node] = asyncio.create_task(self._load(node, is_of_v1_1))

    def leave(self, node: str) -> None:
        """Let a node go before it was loaded."""
        if task := self.loading.pop(node, None):
            task.cancel()

    def forget(self, node: str) -> None:
        self.leave(node)
        self.connected.pop(node, None)
        self.gone.clear()
        self.own.forget({node})

    async def _load(self, node: str, is_of_v1_1: bool) -> None:
        while True:
            with suppress(KubeError):
                await self.own.load(node, is_of_v1_1=is_of_v1_1)
                return
            await asyncio.sleep(0)

    def is_loaded(self, node: str) -> bool:
        task = self.loading.get(node)
        return task is not None and task.done()

    # What is to be

    def check(self) -> None:
        found: State = {key: essence(obj) for key, obj in self.own.store.items()}
        everything = any(
            is_of_v1_1 and self.is_loaded(node) for node, is_of_v1_1 in self.connected.items()
        )
        for node in NODES:
            share = self.own._shares.get(node)
            has = {key: value for key, value in found.items() if value[0] == node}
            if self.is_loaded(node):
                assert share and share.complete.is_set()
            if share and not share.complete.is_set():
                assert node in self.loading, "what nobody waits for is held back"
            if share and share.complete.is_set():
                revision = max(self.shown(), int(share.version))
            elif everything:
                revision = self.shown()
            else:
                assert not has or any(self.connected.values()), f"{node} is not here"
                continue
            wanted = {k: v for k, v in self.states[revision].items() if v[0] == node}
            assert has == wanted, f"{node} as of {revision}"

    def shown(self) -> int:
        return int(self.own._version or self.position)

    async def settle(self) -> None:
        for _ in range(_TURNS):
            await asyncio.sleep(0)

    async def finish(self) -> None:
        """Let everything arrive that is on its way; then each node has what it is to have."""
        await self.settle()
        while self.asked:
            self.make(0)
            self.arrive(0)
            await self.settle()
            self.check()
        self.show(len(self.log))
        assert all(self.is_loaded(node) for node in self.loading)
        self.check()
        for node in self.loading:
            has = {k for k, obj in self.own.store.items() if essence(obj)[0] == node}
            assert has == {k for k, v in self.states[-1].items() if v[0] == node}


def _pod(key: Key, value: tuple[str, str, str]) -> Json:
    node, uid, version = value
    return pod(key[1], node, uid=uid, resourceVersion=version)


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
        for task in (running, *world.loading.values()):
            task.cancel()
            await asyncio.wait((task,))
    return world


numbers = st.integers(0, 3)
nodes = st.sampled_from(NODES)
change = st.tuples(st.just("change"), st.sampled_from(NAMES), nodes)
happening = st.one_of(
    change,
    change,
    change,
    st.tuples(st.just("make"), numbers),
    st.tuples(st.just("make"), numbers, st.integers(1, 4)),
    st.tuples(st.just("arrive"), numbers),
    st.tuples(st.just("arrive"), numbers),
    st.tuples(st.just("fail"), numbers),
    st.tuples(st.just("show"), st.integers(1, 4)),
    st.tuples(st.just("show"), st.integers(1, 4)),
    st.tuples(st.just("end")),
    st.tuples(st.just("expire")),
    st.tuples(st.just("connect"), nodes, st.just(False)),
    st.tuples(st.just("connect"), nodes, st.just(False)),
    st.tuples(st.just("connect"), nodes, st.booleans()),
    st.tuples(st.just("leave"), nodes),
    st.tuples(st.just("forget"), nodes),
)
#: The first list of all has arrived.
BEGUN: list[tuple[Any, ...]] = [("make", 0), ("arrive", 0), ("arrive", 0)]


@pytest.mark.parametrize(
    ("steps", "sizes"),
    [
        ([*BEGUN, ("expire",)], [1, 1]),
        ([*BEGUN, ("connect", "n1", False), ("make", 0), ("arrive", 0), ("expire",)], [1, 0, 2]),
        ([*BEGUN, ("connect", "n1", True)], [1, 2]),
        ([("connect", "n1", False)], [1, 0]),
        ([("connect", "n1", True), ("leave", "n1")], [1, 2]),
    ],
    ids=[
        "nobody",
        "one of today",
        "one of 1.1",
        "one that comes meanwhile",
        "one of 1.1 that comes meanwhile, and leaves",
    ],
)
def test_all_pods_are_listed_only_if_some_are_kept(
    runner: asyncio.Runner, steps: list[tuple[Any, ...]], sizes: list[int]
) -> None:
    assert runner.run(live(steps)).sizes == sizes


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@given(steps=st.lists(happening, min_size=5, max_size=60))
@settings(max_examples=400, deadline=None)
def test_whatever_comes_first_the_store_is_what_the_api_had(
    runner: asyncio.Runner, steps: list[tuple[Any, ...]]
) -> None:
    runner.run(live([*BEGUN, *steps]))


def on(name: str, node: str = "n1") -> tuple[Any, ...]:
    return "change", name, node


COMES = ("connect", "n1", False)
MADE = ("make", 0)
ARRIVES = ("arrive", 0)


@pytest.mark.parametrize(
    "steps",
    [
        pytest.param([COMES, on("a"), MADE, ARRIVES], id="the-list-is-ahead-of-the-watch"),
        pytest.param(
            [COMES, on("a"), MADE, on("a", "n2"), ("show", 2), ARRIVES],
            id="deleted-while-the-list-is-under-way",
        ),
        pytest.param(
            [COMES, MADE, on("a"), ("show", 1), ARRIVES], id="created-while-it-is-under-way"
        ),
        pytest.param(
            [on("a"), on("a", "n2"), COMES, MADE, ARRIVES, ("show", 1)],
            id="the-watch-shows-what-was-gone-when-it-was-listed",
        ),
        pytest.param(
            [on("a", "n2"), on("a"), on("a"), COMES, MADE, ARRIVES, ("show", 1), ("show", 1)],
            id="a-former-pod-of-another-node-ends-late",
        ),
        pytest.param(
            [on("a"), on("a", "n2"), ("show", 2), COMES, ("make", 0, 1), ARRIVES],
            id="a-list-that-is-older-than-the-watch-brings-nothing-back",
        ),
        pytest.param(
            [COMES, ("expire",), MADE, ARRIVES, on("a"), ARRIVES, ARRIVES],
            id="everything-is-listed-anew-while-the-list-is-under-way",
        ),
        pytest.param(
            [on("a"), ("expire",), MADE, ARRIVES, COMES, ARRIVES],
            id="it-comes-while-everything-is-listed-anew",
        ),
        pytest.param(
            [COMES, ("expire",), ("make", 1), on("a"), MADE, ARRIVES, ARRIVES, ARRIVES],
            id="the-list-is-ahead-of-that-of-everything",
        ),
        pytest.param(
            [
                *(on("a"), ("show", 1), COMES, MADE, on("a", "n2"), ("expire",)),
                *(MADE, ("arrive", 1), ("arrive", 1), ARRIVES),
            ],
            id="the-list-comes-after-that-of-everything",
        ),
        pytest.param(
            [
                *(COMES, MADE, ARRIVES, on("a"), ("show", 1), ("expire",)),
                *(MADE, ARRIVES, ("forget", "n1"), ARRIVES),
            ],
            id="it-goes-while-everything-is-listed-anew",
        ),
        pytest.param(
            [
                *(("connect", "n2", False), MADE, ARRIVES, on("a"), COMES, MADE),
                *(on("a", "n2"), on("a", "n2"), ("show", 3), ARRIVES),
            ],
            id="the-name-is-meanwhile-that-of-a-pod-of-another-node",
        ),
        pytest.param(
            [
                *(on("a", "n2"), ("connect", "n1", True), MADE, ARRIVES, ARRIVES),
                *(("forget", "n1"), ("connect", "n2", False)),
            ],
            id="a-node-comes-after-the-last-edge-of-v1.1-has-gone",
        ),
        pytest.param(
            [
                *(on("a", "n2"), ("show", 1), ("expire",), MADE, ARRIVES),
                *(("connect", "n1", True), ARRIVES),
            ],
            id="an-edge-of-v1.1-comes-while-everything-is-listed-anew",
        ),
        pytest.param(
            [on("a", "n2"), ("connect", "n1", True), MADE, ARRIVES, ARRIVES, ("forget", "n1")],
            id="an-edge-of-v1.1-comes-and-goes",
        ),
    ],
)
async def test_each_order_in_which_it_can_come(steps: list[tuple[Any, ...]]) -> None:
    await live([*BEGUN, *steps])


async def loaded(world: World, node: str = "n1", *, is_of_v1_1: bool = False) -> None:
    world.connect(node, is_of_v1_1)
    await world.settle()
    while world.asked:
        world.make(0)
        world.arrive(0)
        await world.settle()
    assert world.is_loaded(node)


@pytest.fixture
async def world() -> AsyncGenerator[World]:
    """An API with a pod on each node, of which a replica has none yet."""
    world = World()
    for name, node in zip(NAMES, NODES, strict=False):
        world.change(name, node)
    running = asyncio.create_task(world.own.run())
    await world.settle()
    for _ in BEGUN:
        world.make(0)
        world.arrive(0)
        await world.settle()
    assert world.own.is_synced
    yield world
    running.cancel()
    await asyncio.wait((running,))


async def test_nothing_is_kept_of_nodes_that_are_elsewhere(world: World) -> None:
    assert world.own.store == {}
    await loaded(world)
    assert [essence(each)[0] for each in world.own.store.values()] == ["n1"]
    world.own.forget({"n1"})
    assert world.own.store == {}


async def test_everything_is_kept_while_there_is_an_edge_of_v1_1(world: World) -> None:
    await loaded(world, is_of_v1_1=True)
    await loaded(world, "n2")
    assert {essence(each)[0] for each in world.own.store.values()} == set(NODES)
    world.own.forget({"n1"})
    assert {essence(each)[0] for each in world.own.store.values()} == {"n2"}


async def test_a_pod_that_is_bound_anew_leaves_its_first_node(world: World) -> None:
    """In an API that was restored from a copy."""
    await loaded(world)
    bound = next(iter(world.own.store.values()))
    world.change("c", "n2")
    metadata = bound["metadata"] | {"resourceVersion": str(world.revision)}
    world.on_event(WatchEvent("MODIFIED", {"metadata": metadata, "spec": {"nodeName": "n2"}}))
    assert world.own.store == {}


async def test_a_message_waits_for_the_pods_of_its_node(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_pods, "_PATIENCE", 600.0)
    waiting = asyncio.create_task(world.own.known("n1"))
    await world.settle()
    assert not waiting.done()
    await loaded(world)
    await waiting
    monkeypatch.setattr(own_pods, "_PATIENCE", 0.01)
    with pytest.raises(Unreachable, match="n2"):
        await world.own.known("n2")


async def test_a_pod_that_is_unusable_is_set_aside_by_who_has_its_node(world: World) -> None:
    put_aside: list[Any] = []
    world.own._set_aside = cast(
        "Any",
        SimpleNamespace(
            put=lambda subject, _: put_aside.append(subject.name),
            end=lambda *_, **__: None,
            isolating=lambda _: nullcontext(),
        ),
    )

    def show_unusable(node: str) -> None:
        world.change("c", "n2")  # time goes on
        metadata = {"namespace": "default", "name": f"bad-{node}", "uid": node}
        version = {"resourceVersion": str(world.revision)}
        spec = {"nodeName": node, "containers": 1}
        world.on_event(WatchEvent("ADDED", {"metadata": metadata | version, "spec": spec}))

    show_unusable("n1")
    assert world.own.aside == {}
    await loaded(world)
    show_unusable("n2")
    show_unusable("n1")
    assert put_aside == ["pods default/bad-n1"]
    assert set(world.own.aside) == {("default", "bad-n1")}
    world.own.forget({"n1"})
    assert world.own.aside == {}
