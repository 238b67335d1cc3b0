"""The parts that need neither an API server nor a channel."""

import asyncio
from datetime import UTC, datetime
from typing import Any, cast

import pytest
from pydantic import ValidationError

from ipc import Message, MessageTooLarge, Timeout
from modules.common import times
from modules.common.kube import ApiError
from modules.common.sync import connectivity
from modules.common.sync.connectivity import Connectivity
from modules.common.wire.generations import V1_23, tell
from modules.edgecontroller import EdgeController
from modules.edgecontroller.cloudhub_client import CloudHubClient
from modules.edgecontroller.config import EdgeControllerConfig
from modules.edgecontroller.downstream.due import (
    DueSet,
    Pending,
    Target,
)
from modules.edgecontroller.objects import endpoints_changed, keep, pod_changed, selects
from modules.edgecontroller.upstream.message_queue import MessageQueue
from modules.edgecontroller.upstream.podstatus import deletion_complete, status_patch


def test_module_names() -> None:
    assert (EdgeController.name, EdgeController.group) == ("edgecontroller", "edgecontroller")
    assert EdgeController.Config is EdgeControllerConfig


@pytest.mark.parametrize(
    "config",
    [
        {"node_update_frequency": 0},
        {"edge_node_selector": ""},
        {"workers": {"query": 0}},
        {"workers": {"other": 1}},
        {"unknown": 1},
    ],
)
def test_bad_config(config: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        EdgeControllerConfig.model_validate(config)


def test_config_takes_whole_numbers_and_tables() -> None:
    config = EdgeControllerConfig.model_validate(
        {"node_update_frequency": 30, "workers": {"query": 2}}
    )
    assert (config.node_update_frequency, config.workers.query) == (30.0, 2)


def target(name: str) -> Target:
    return Target("n", "pod", "ns", name)


async def test_outbox_keeps_order_and_merges() -> None:
    due = DueSet()
    due.mark(target("a"), fresh=True)
    due.mark(target("b"), last={"was": 1})
    due.mark(target("a"))
    (a, first), (b, second) = await due.batch(10)
    assert (a, b) == (target("a"), target("b"))
    assert (first.fresh, first.last) == (True, None)
    assert second.last == {"was": 1}
    assert len(due) == 2


async def test_what_takes_the_place_of_another_of_its_name_is_not_fresh() -> None:
    """An edge that still has the other one would keep it, and not store an insert."""
    due = DueSet()
    due.mark(target("a"), last={"was": 1})
    due.mark(target("a"), fresh=True)
    [(_, pending)] = await due.batch(10)
    assert (pending.fresh, pending.last) == (False, {"was": 1})


async def test_outbox_keeps_what_is_marked_while_it_is_sent() -> None:
    due = DueSet()
    due.mark(target("a"))
    [(a, pending)] = await due.batch(10)
    due.mark(target("a"))
    due.settle(a, pending)
    [(a, pending)] = await due.batch(10)
    due.settle(a, pending)
    assert len(due) == 0
    waiting = asyncio.create_task(due.batch(1))
    await asyncio.sleep(0)
    assert not waiting.done()
    due.mark(target("c"))
    assert [found for found, _ in await waiting] == [target("c")]


class FakeDelivery:
    def __init__(self, name: str) -> None:
        self.message = Message.build("s", "g", "update", "r", name)
        self.name = name
        self.is_done = False

    def done(self) -> None:
        assert not self.is_done
        self.is_done = True


class Work:
    """A handler whose work ends when it is told."""

    def __init__(self) -> None:
        self.seen: list[list[Any]] = []
        self.most_at_once = 0
        self._at_once = 0
        self._go: asyncio.Semaphore = asyncio.Semaphore(0)

    async def handle(self, messages: list[Message]) -> None:
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        self.seen.append([message.content for message in messages])
        await self._go.acquire()
        self._at_once -= 1

    async def let_go(self, count: int) -> None:
        for _ in range(count):
            self._go.release()
        for _ in range(20 * count):
            await asyncio.sleep(0)


async def test_queue_keeps_the_order_of_an_object_and_works_on_others() -> None:
    work = Work()
    queue = MessageQueue(work.handle, workers=3)
    deliveries = [FakeDelivery(name) for name in ("a1", "a2", "b1", "a3", "c1", "d1")]
    for delivery in deliveries:
        queue.put(delivery.name[0], delivery.message, delivery.done)
    running = asyncio.create_task(queue.run())
    await work.let_go(0)
    for _ in range(20):
        await asyncio.sleep(0)
    assert work.seen == [["a1"], ["b1"], ["c1"]]
    await work.let_go(6)
    assert [c for [c] in work.seen if c.startswith("a")] == ["a1", "a2", "a3"]
    assert len(work.seen) == 6
    assert work.most_at_once == 3
    assert all(delivery.is_done for delivery in deliveries)
    assert queue.handled == 6
    running.cancel()
    await asyncio.wait([running])


async def test_queue_with_limits_drops_what_comes_last() -> None:
    """A flood of one key leaves room for the others."""
    work = Work()
    queue = MessageQueue(work.handle, workers=1, most_waiting=2, most_keys=2)
    deliveries = [FakeDelivery(name) for name in ("a1", "a2", "a3", "b1", "c1", "b2")]
    for delivery in deliveries:
        queue.put(delivery.name[0], delivery.message, delivery.done)
    assert [each.name for each in deliveries if each.is_done] == ["a3", "c1"]
    assert queue.dropped == 2
    running = asyncio.create_task(queue.run())
    await work.let_go(4)
    assert sorted(name for [name] in work.seen) == ["a1", "a2", "b1", "b2"]
    running.cancel()
    await asyncio.wait([running])


async def test_queue_of_statuses_replaces_what_waits() -> None:
    work = Work()
    queue = MessageQueue(work.handle, workers=1, latest_only=True)
    running = asyncio.create_task(queue.run())
    deliveries = [FakeDelivery(name) for name in ("s1", "s2", "s3", "s4")]
    queue.put("s", deliveries[0].message, deliveries[0].done)
    for _ in range(10):
        await asyncio.sleep(0)
    for delivery in deliveries[1:]:
        queue.put("s", delivery.message, delivery.done)
    assert [delivery.is_done for delivery in deliveries] == [False, True, True, False]
    await work.let_go(2)
    assert work.seen == [["s1"], [None, None, "s4"]]
    assert all(delivery.is_done for delivery in deliveries)
    running.cancel()
    await asyncio.wait([running])


async def test_queue_of_statuses_keeps_no_more_of_the_replaced_than_are_answered() -> None:
    """However long the API server is away."""
    work = Work()
    queue = MessageQueue(work.handle, workers=1, latest_only=True)
    running = asyncio.create_task(queue.run())
    for number in range(1000):
        delivery = FakeDelivery(str(number))
        queue.put("s", delivery.message, delivery.done)
        await asyncio.sleep(0)
    await work.let_go(2)
    [latest] = [seen for seen in work.seen if "999" in seen]
    assert latest[:-1] == [None] * 16
    running.cancel()
    await asyncio.wait([running])


async def test_what_the_api_fails_to_write_occupies_no_worker(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """An admission webhook that does not answer fails the writes of its namespace alone."""
    broken, order = True, []

    async def handle(messages: list[Message]) -> None:
        content = messages[-1].content
        if broken and content.startswith("bad"):
            raise ApiError(500, "InternalError", "failed calling webhook", request=content)
        order.append([message.content for message in messages])

    queue = MessageQueue(handle, workers=2, latest_only=True)
    deliveries = {name: FakeDelivery(name) for name in ("bad1", "bad2", "bad3", "good")}
    with caplog.at_level("INFO"):
        running = asyncio.create_task(queue.run())
        for name, delivery in deliveries.items():
            queue.put(name, delivery.message, delivery.done)
        while not deliveries["good"].is_done:
            await asyncio.sleep(0)
        assert order == [["good"]]
        assert len(caplog.messages) == 1
        newer = FakeDelivery("bad newer")
        queue.put("bad1", newer.message, newer.done)
        assert deliveries["bad1"].is_done, "it waited for a retry, and is replaced"
        broken = False
        while not all(each.is_done for each in (*deliveries.values(), newer)):
            await asyncio.sleep(0.01)
    assert [None, "bad newer"] in order
    assert len(order) == 4
    assert [line.partition(";")[0] for line in caplog.messages[:1]] == [
        "bad1: 500 InternalError: failed calling webhook"
    ]
    assert caplog.messages[1:] == ["the Kubernetes API accepts all writes again that it had failed"]
    running.cancel()
    await asyncio.wait([running])


async def test_status_that_came_during_a_failed_attempt_replaces_it() -> None:
    go, seen = asyncio.Event(), []

    async def handle(messages: list[Message]) -> None:
        seen.append([message.content for message in messages])
        if len(seen) == 1:
            await go.wait()
            raise ApiError(500, "InternalError", "no")

    queue = MessageQueue(handle, workers=1, latest_only=True)
    running = asyncio.create_task(queue.run())
    old, new = FakeDelivery("old"), FakeDelivery("new")
    queue.put("s", old.message, old.done)
    while not seen:
        await asyncio.sleep(0)
    queue.put("s", new.message, new.done)
    go.set()
    while not new.is_done:
        await asyncio.sleep(0.01)
    assert old.is_done
    assert seen == [["old"], [None, "new"]]
    running.cancel()
    await asyncio.wait([running])


async def test_fault_of_a_handler_ends_the_queue() -> None:
    async def fail(_: list[Message]) -> None:
        raise RuntimeError("fault")

    queue = MessageQueue(fail, workers=2)
    delivery = FakeDelivery("a")
    queue.put("a", delivery.message, delivery.done)
    with pytest.raises(ExceptionGroup) as caught:
        await queue.run()
    assert caught.group_contains(RuntimeError)
    assert not delivery.is_done


async def test_what_no_channel_carries_is_for_the_caller_to_set_aside() -> None:
    class Context:
        async def send(self, module: str, message: Message, timeout: float | None = None) -> None:
            raise MessageTooLarge("17 MB")

        async def send_resp(self, message: Message, timeout: float | None = None) -> None:
            raise AssertionError

    with pytest.raises(MessageTooLarge):
        await CloudHubClient(Context()).send(Message.build("s", "g", "update", "r"))


def meta(**metadata: Any) -> dict[str, Any]:
    return {"metadata": metadata, "spec": {"a": 1}}


def test_what_is_news_of_a_pod() -> None:
    old = {**meta(resourceVersion="1", generation=1), "status": {"phase": "Pending"}}
    assert not pod_changed(old, {**meta(resourceVersion="2", generation=2), "status": {}})
    assert pod_changed(old, {**meta(resourceVersion="2"), "spec": {"a": 2}})
    assert pod_changed(old, meta(resourceVersion="2", labels={"x": "y"}))
    assert pod_changed(old, meta(resourceVersion="2", deletionTimestamp="t"))


def test_what_is_news_of_endpoints() -> None:
    old = {"metadata": {"resourceVersion": "1"}, "subsets": []}
    annotated = {"metadata": {"resourceVersion": "2", "annotations": {"a": "b"}}, "subsets": []}
    assert not endpoints_changed(old, annotated)
    assert endpoints_changed(old, {**annotated, "subsets": [1]})
    assert endpoints_changed(old, {"metadata": {"labels": {"a": "b"}}, "subsets": []})


def test_keep_takes_out_what_no_edge_reads() -> None:
    obj = {"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "p", "managedFields": []}}
    assert keep(obj) == {"metadata": {"name": "p"}}


def test_selects() -> None:
    labelled = {"metadata": {"labels": {"a": "1", "b": "2"}}}
    assert selects({"a": "1"}, labelled)
    assert not selects({"a": "1", "b": "3"}, labelled)
    assert not selects({"a": "1"}, {"metadata": {}})
    assert not selects({}, labelled)
    assert not selects(None, labelled)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05Z"),
        ("2026-01-02T03:04:05.999999999Z", "2026-01-02T03:04:05Z"),
        ("2026-01-02T05:04:05+02:00", "2026-01-02T03:04:05Z"),
        ("", None),
        (None, None),
        ("yesterday", None),
    ],
)
def test_times(text: str | None, expected: str | None) -> None:
    assert times.normalize_time(text) == expected


def test_init_containers_are_sorted_as_in_the_spec() -> None:
    pod = {"spec": {"initContainers": [{"name": "b"}, {"name": "a"}]}, "metadata": {}}
    reported = {
        "initContainerStatuses": [
            {"name": "x"},
            {"name": "a", "lastState": {"terminated": {"finishedAt": "2026-01-02T03:04:05.5Z"}}},
            {"name": "b", "state": {"terminated": None}},
        ]
    }
    patch = status_patch(pod, reported, datetime(2026, 1, 1, tzinfo=UTC))["status"]
    statuses = patch["initContainerStatuses"]
    assert [status["name"] for status in statuses] == ["b", "a", "x"]
    assert statuses[1]["lastState"]["terminated"]["finishedAt"] == "2026-01-02T03:04:05Z"
    assert patch["startTime"] == "2026-01-01T00:00:00Z"
    assert patch["message"] is None


def test_pod_that_is_not_being_deleted_is_left() -> None:
    assert not deletion_complete({"metadata": {}, "status": {"phase": "Succeeded"}})


async def test_what_asking_about_a_node_raises_ends_the_asking() -> None:
    class Context:
        async def send_sync(self, *_: Any) -> Message:
            return Message.build("cloudhub", "resource", "response", "r")

    def fail(node: str, generation: str = "") -> None:
        raise ZeroDivisionError(node, generation)

    asking = Connectivity(
        {}, cast("Any", Context()), sender=("s", "g"), on_found=fail, on_gone=fail
    )
    running = asyncio.create_task(asking.run())
    await asyncio.sleep(0)
    asking.ask("n")
    with pytest.raises(ExceptionGroup) as caught:
        await running
    assert caught.group_contains(ZeroDivisionError)


async def test_cloudhub_is_asked_until_it_answers_whether_a_node_is_at_this_replica(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connectivity, "_CHECK_INTERVAL", 0.0)
    answers = [Timeout("cloudhub is busy"), Timeout("cloudhub is busy"), tell(V1_23)]
    found = asyncio.Queue[tuple[str, str]]()

    class Context:
        async def send_sync(self, _: str, question: Message, *__: Any) -> Message:
            answer = answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return question.response(answer, source="cloudhub")

    asking = Connectivity(
        {},
        cast("Any", Context()),
        sender=("s", "g"),
        on_found=lambda *what: found.put_nowait(what),
        on_gone=lambda _: None,
        insists=True,
    )
    running = asyncio.create_task(asking.run())
    await asyncio.sleep(0)
    asking.ask("n")
    assert await found.get() == ("n", V1_23)
    running.cancel()


async def test_outbox_knows_what_types_are_due_to_whom() -> None:
    due = DueSet()
    targets = [Target("n", "service", "default", name) for name in "ab"]
    for target in (*targets, targets[0]):
        due.mark(target)
    assert due.has("n", "service")
    assert not due.has("n", "pod")
    assert not due.has("m", "service")
    for target, pending in await due.batch(10):
        assert due.has("n", "service")
        due.settle(target, pending)
    assert not due.has("n", "service")
    [(target, pending)] = [(targets[0], Pending())]
    due.mark(target)
    due.settle(target, pending)  # marked again since
    assert due.has("n", "service")
