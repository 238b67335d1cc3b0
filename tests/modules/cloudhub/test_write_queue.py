from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipc import Message
from modules.cloudhub.session.write_queue import Frames, WriteQueue


def message(operation: str, resource: str = "default/pod/p", group: str = "resource") -> Message:
    return Message.build("edgecontroller", group, operation, resource)


def put(queue: WriteQueue, each: Message, size: int = 10) -> bool:
    """Put a message as a session does; the frames say what the edge would get."""
    each.operation = queue.operation_of(each)
    text = f"{each.operation} {each.resource} {each.id}".ljust(size)
    return queue.put(each, (text.encode(),))


def drain(queue: WriteQueue) -> list[str]:
    seen = []
    while queue:
        (frame,) = queue.pop()
        seen.append(frame.decode().split(" ")[0])
    return seen


@pytest.mark.parametrize(
    ("operations", "seen"),
    [
        ("insert update", "insert"),
        ("insert update update", "insert"),
        ("update update", "update"),
        ("insert delete", "delete"),
        ("update delete", "delete"),
        ("delete insert", "delete insert"),
        ("delete insert update", "delete insert update"),
        ("delete delete", "delete delete"),
        ("insert insert", "insert"),
        ("response update response", "response update response"),
    ],
)
def test_a_later_state_replaces_an_earlier_one(operations: str, seen: str) -> None:
    queue = WriteQueue(100, 10_000)
    for operation in operations.split():
        assert put(queue, message(operation))
    assert drain(queue) == seen.split()
    assert queue.bytes == 0


def test_the_later_place_in_the_order_counts() -> None:
    queue = WriteQueue(100, 10_000)
    put(queue, message("update", "default/pod/p"))
    put(queue, message("insert", "default/configmap/c"))
    put(queue, message("update", "default/pod/p"))
    assert drain(queue) == ["insert", "update"]
    assert queue.superseded == 1


def test_twin_messages_tell_changes_and_are_all_sent() -> None:
    queue = WriteQueue(100, 10_000)
    for _ in range(3):
        put(queue, message("update", "membership", "twin"))
    assert drain(queue) == ["update"] * 3


def test_what_somebody_waits_for_is_sent() -> None:
    queue = WriteQueue(100, 10_000)
    for _ in range(2):
        asked = message("update")
        asked.reply_to = "csi"
        put(queue, asked)
    assert drain(queue) == ["update"] * 2


def test_the_bounds() -> None:
    queue = WriteQueue(2, 100)
    assert put(queue, message("insert", "a"), 60)
    assert not put(queue, message("insert", "b"), 60)
    assert put(queue, message("update", "a"), 90)  # in the first one's place
    assert len(queue) == 1
    queue.pop()
    assert put(queue, message("insert", "c"), 1000)  # alone it may be of any size
    assert not put(queue, message("insert", "d"))
    queue.pop()
    assert put(queue, message("insert", "e"))
    assert put(queue, message("insert", "f"))
    assert not put(queue, message("insert", "g"))


def test_the_bound_in_messages() -> None:
    queue = WriteQueue(2, 10_000)
    assert put(queue, message("insert", "a"))
    assert put(queue, message("insert", "b"))
    assert not put(queue, message("insert", "c"))
    assert put(queue, message("update", "b"))


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["insert", "update", "delete", "pop"]), st.sampled_from(["a", "b", "c"])
    ),
    max_size=60,
)


@given(EVENTS)
def test_an_edge_ends_in_the_same_state_as_without_the_queue(events: list[tuple[str, str]]) -> None:
    """The last state of each object arrives, in the order of the last states."""
    queue = WriteQueue(1000, 1_000_000)
    arrived: list[Frames] = []
    wanted: dict[str, Any] = {}
    for operation, resource in events:
        if operation == "pop":
            if queue:
                arrived.append(queue.pop())
            continue
        each = message(operation, resource)
        assert put(queue, each)
        wanted.pop(resource, None)
        wanted[resource] = (operation == "delete", each.id)
    while queue:
        arrived.append(queue.pop())
    got: dict[str, Any] = {}
    for (frame,) in arrived:
        operation, resource, identity = frame.decode().split()
        got.pop(resource, None)
        got[resource] = (operation == "delete", identity)
    assert list(got.items()) == list(wanted.items())
    assert queue.bytes == 0
