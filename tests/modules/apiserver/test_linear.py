"""No request costs more than linear in its own size and its answer's, nor holds the event loop."""

from __future__ import annotations

import asyncio
import copy
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from modules.apiserver import turns
from modules.apiserver.catalog import Catalog, Resource
from modules.apiserver.http.watch import PlainLines, Watch
from modules.apiserver.kinds.builtin import BUILTIN
from modules.apiserver.meta.objects import Entry
from modules.apiserver.meta.selectors import Selector, parse_labels
from modules.apiserver.patch.strategic import apply_strategic_patch
from modules.apiserver.registry.bootstrap import open_cluster
from modules.apiserver.registry.cascade import Cascade
from modules.apiserver.registry.deletion import AT_ONCE, CLEANUP_FINALIZER, Options
from modules.apiserver.storage.store import Store
from tests.modules.apiserver.api import Api
from tests.support.work import Name, assert_linear, counted

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
CRD = {
    "metadata": {"name": "things.x.io"},
    "spec": {
        "group": "x.io",
        "scope": "Namespaced",
        "names": {"plural": "things", "kind": "Thing"},
        "versions": [{"name": "v1", "served": True, "storage": True}],
    },
}


class Cluster:
    """A registry in a file, with a cascade that runs when it is asked to."""

    def __init__(self, path: Path) -> None:
        self.registry = open_cluster(Store(path), Catalog(BUILTIN), "CA")

    def resource(self, plural: str) -> Resource:
        return next(item for item in self.registry.catalog if item.plural == plural)

    def create(self, plural: str, namespace: str, name: str, **fields: Any) -> None:
        obj = {"metadata": {"name": name, **fields}}
        self.registry.create(self.resource(plural), namespace, obj)

    def fill(self, number: int, plural: str = "configmaps", namespace: str = "team") -> None:
        names = [f"c{index}" for index in range(number)]
        random.Random(1).shuffle(names)
        for name in names:
            self.create(plural, namespace, name)

    def count(self, plural: str, namespace: str = "team") -> int:
        return self.registry.store.collection(self.resource(plural).storage).count(namespace)

    def delete(self, plural: str, namespace: str, name: str) -> bool:
        return self.registry.delete(self.resource(plural), namespace, name, Options()).gone

    def has(self, plural: str, name: str) -> bool:
        entries = self.registry.store.collection(self.resource(plural).storage).entries
        return ("", name) in entries

    @asynccontextmanager
    async def cascading(self) -> AsyncIterator[None]:
        task = asyncio.create_task(Cascade(self.registry).run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def settle(self, until: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not until():
                await asyncio.sleep(0)


@pytest.fixture
def cluster(tmp_path: Path) -> Any:
    made = Cluster(tmp_path / "a.db")
    made.create("namespaces", "", "team")
    yield made
    made.registry.store.close()


def test_deleting_a_namespace_takes_steps_in_proportion_to_what_is_in_it(tmp_path: Path) -> None:
    def work_of(size: int) -> int:
        cluster = Cluster(tmp_path / f"{size}.db")
        cluster.create("namespaces", "", "team")
        cluster.fill(size)

        async def delete() -> int:
            with counted() as work:
                async with cluster.cascading():
                    cluster.delete("namespaces", "", "team")
                    await cluster.settle(lambda: not cluster.has("namespaces", "team"))
            return work.calls

        calls = asyncio.run(delete())
        assert cluster.count("configmaps") == 0
        cluster.registry.store.close()
        return calls

    assert_linear(work_of, 4 * AT_ONCE)


async def test_a_few_objects_go_at_once_and_many_in_turns(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "TURN_SECONDS", 0)  # an object a turn
    cluster.fill(AT_ONCE + 49)  # and the one that every namespace has
    assert not cluster.delete("namespaces", "", "team")
    assert cluster.count("configmaps") == 50
    left = []
    async with cluster.cascading():
        while cluster.has("namespaces", "team"):
            left.append(cluster.count("configmaps"))
            await asyncio.sleep(0)
    # Others had their turn between any two of them, and saw a namespace in the making.
    assert set(left) >= set(range(2, 49))


async def test_a_deletion_goes_on_in_the_next_life_of_the_server(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.fill(AT_ONCE + 50)
    cluster.registry.create(cluster.resource("customresourcedefinitions"), "", copy.deepcopy(CRD))
    cluster.create("namespaces", "", "other")
    cluster.fill(AT_ONCE + 50, "things", "other")
    cluster.create("configmaps", "team", "held", finalizers=["x.io/wait"])
    cluster.delete("namespaces", "", "team")
    assert not cluster.delete("customresourcedefinitions", "", "things.x.io")
    with monkeypatch.context() as patched:
        patched.setattr(turns, "TURN_SECONDS", 0)
        async with cluster.cascading():
            await cluster.settle(lambda: cluster.count("configmaps") < 40)
    assert cluster.count("configmaps") > 1
    cluster.registry.store.close()

    cluster.registry = open_cluster(Store(tmp_path / "a.db"), Catalog(BUILTIN), "CA")
    async with cluster.cascading():
        await cluster.settle(lambda: cluster.count("configmaps") == 1)
        await cluster.settle(lambda: not cluster.has("customresourcedefinitions", "things.x.io"))
        assert cluster.has("namespaces", "team")
        cluster.registry.modify(cluster.resource("configmaps"), "team", "held", _without_finalizers)
        assert not cluster.has("namespaces", "team")
    assert not cluster.registry.store.collection("things.x.io").entries


async def test_a_crd_with_many_objects_stays_until_they_are_gone(cluster: Cluster) -> None:
    crds = cluster.resource("customresourcedefinitions")
    cluster.registry.create(crds, "", copy.deepcopy(CRD))
    cluster.fill(AT_ONCE + 1, "things")
    cluster.create("things", "team", "held", finalizers=["x.io/wait"])
    assert not cluster.delete("customresourcedefinitions", "", "things.x.io")
    crd = cluster.registry.get(crds, "", "things.x.io").decode()
    assert crd["metadata"]["finalizers"] == [CLEANUP_FINALIZER]
    async with cluster.cascading():
        await cluster.settle(lambda: not cluster.has("customresourcedefinitions", "things.x.io"))
    assert not any(item.plural == "things" for item in cluster.registry.catalog)
    cluster.registry.create(crds, "", copy.deepcopy(CRD))
    assert cluster.count("things") == 0


async def test_another_namespace_of_that_name_keeps_what_is_in_it(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "TURN_SECONDS", 0)
    cluster.fill(AT_ONCE + 5, "configmaps")
    cluster.delete("namespaces", "", "team")
    async with cluster.cascading():
        await cluster.settle(lambda: not cluster.has("namespaces", "team"))
        cluster.create("namespaces", "", "team")
        cluster.fill(5, "serviceaccounts")
        for _ in range(200):
            await asyncio.sleep(0)
    assert cluster.count("serviceaccounts") == 6  # and the one that every namespace has


@pytest.mark.parametrize("replay", [False, True], ids=["what there is", "what has happened"])
async def test_a_watch_that_selects_nothing_of_much_lets_others_in(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, replay: bool
) -> None:
    monkeypatch.setattr(turns, "TURN_SECONDS", 0)
    start = cluster.registry.store.revision
    cluster.fill(200)
    seen = Counter[str]()

    class Looking(Watch):
        def _selects(self, entry: Entry) -> bool:
            seen["looks"] += 1
            return super()._selects(entry)

    async def write(_: bytes) -> None:
        raise AssertionError("nothing is selected")

    watch = Looking(
        cluster.registry.store,
        cluster.resource("configmaps"),
        "",
        Selector(parse_labels("no=body")),
        PlainLines(cluster.resource("configmaps")),
        start if replay else None,
    )
    task = asyncio.create_task(watch.run(write))
    while seen["looks"] < 200:
        await asyncio.sleep(0)
        seen["turns of others"] += 1
    assert seen["turns of others"] >= 200
    watch.stop()
    await task


@pytest.mark.parametrize("accept", ["application/json", TABLE])
async def test_a_long_list_is_whole_and_lets_others_in(
    api: Api, accept: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "TURN_SECONDS", 0)
    secrets = "/api/v1/namespaces/default/secrets"
    registry = api.server.registry
    resource = registry.catalog.find("", "v1", "secrets")
    for index in range(400):
        obj = {"metadata": {"name": f"c{index:03}", "annotations": {"x": "y" * 2000}}}
        registry.create(resource, "default", obj)
    taken = Counter[str]()
    next_turn = turns.Turn.next

    async def counted_turn(turn: turns.Turn) -> None:
        taken["turns"] += 1
        await next_turn(turn)

    monkeypatch.setattr(turns.Turn, "next", counted_turn)
    listed = await api.call("GET", secrets, accept=accept)
    assert taken["turns"] >= 400
    names = [
        (item["object"] if accept == TABLE else item)["metadata"]["name"]
        for item in listed["rows" if accept == TABLE else "items"]
    ]
    assert names == sorted(names)
    assert len(names) == 400
    async with api.session.head(api.server.url + secrets) as response:
        assert response.status == 200
        assert int(response.headers["Content-Length"]) > 800_000
    taken.clear()
    deleted = await api.call("DELETE", secrets)
    assert taken["turns"] >= 400
    assert len(deleted["items"]) == 400
    assert (await api.call("GET", secrets))["items"] == []


def _orders(size: int) -> tuple[dict[str, Any], dict[str, Any]]:
    names = [Name(f"n{index}") for index in range(size)]
    order = [Name(name) for name in names[::-2]]
    return {"list": [{"name": name} for name in names]}, {
        "$setElementOrder/list": [{"name": name} for name in order],
        "list": [{"name": Name(name), "x": 1} for name in names],
    }


def _deletions(size: int) -> tuple[dict[str, Any], dict[str, Any]]:
    names = [f"n{index}" for index in range(size)]
    return {"list": [{"name": Name(name)} for name in names]}, {
        "list": [{"name": Name(name), "$patch": "delete"} for name in names]
    }


def _primitives(size: int) -> tuple[dict[str, Any], dict[str, Any]]:
    names = [f"n{index}" for index in range(size)]
    return {"plain": [Name(name) for name in names]}, {
        "plain": [Name(f"m{name}") for name in names],
        "$setElementOrder/plain": [Name(name) for name in reversed(names)],
        "$deleteFromPrimitiveList/plain": [Name(name) for name in names[::2]],
    }


@pytest.mark.parametrize("made", [_orders, _deletions, _primitives])
def test_a_strategic_patch_takes_steps_in_proportion_to_its_size(made: Any) -> None:
    keys = {("list",): "name", ("plain",): ""}

    def work_of(size: int) -> int:
        obj, patch = made(size)
        Name.looks = 0
        apply_strategic_patch(obj, patch, keys)
        return Name.looks

    assert_linear(work_of, 500)


def _without_finalizers(obj: dict[str, Any]) -> dict[str, Any]:
    obj["metadata"].pop("finalizers", None)
    return obj
