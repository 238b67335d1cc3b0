from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from ipc import (
    AsyncContext,
    ChannelError,
    ChannelFull,
    ChannelRegistry,
    Closed,
    Context,
    Message,
    Timeout,
    UnknownModule,
    open_contexts,
)
from ipc.contexts.questions import Failures


def question(content: str = "?") -> Message:
    return Message.build("a", "g", "query", "r", content)


@pytest.fixture
async def contexts() -> Iterator[dict[str, AsyncContext]]:
    opened = open_contexts({"a": "asking", "b": "echo", "c": "echo", "silent": "silent"})
    tasks = [asyncio.create_task(answer_all(opened[name])) for name in ("b", "c")]
    yield opened
    for context in opened.values():
        context.stop()
    await asyncio.wait_for(asyncio.gather(*tasks), 10)
    for context in opened.values():
        context.close()


async def answer_all(context: AsyncContext) -> None:
    async for message in context:
        if message.sync:
            await context.send_resp(message.response(f"{context.name}: {message.content}"))


async def test_an_answer_comes_to_who_asked(contexts: dict[str, AsyncContext]) -> None:
    answers = await asyncio.gather(
        *(contexts["a"].send_sync("b", question(str(number)), 10) for number in range(200))
    )
    assert [answer.content for answer in answers] == [f"b: {number}" for number in range(200)]


async def test_a_group_s_members_each_answer(contexts: dict[str, AsyncContext]) -> None:
    answers = await contexts["a"].send_to_group_sync("echo", question(), 10)
    assert sorted(answer.content for answer in answers) == ["b: ?", "c: ?"]


async def test_a_group_s_members_each_receive(contexts: dict[str, AsyncContext]) -> None:
    await contexts["a"].send_to_group("silent", question("hello"))
    assert (await contexts["silent"].receive(10)).content == "hello"


async def test_nobody_answering_is_a_timeout_that_says_who(
    contexts: dict[str, AsyncContext],
) -> None:
    with pytest.raises(Timeout, match="'silent' did not answer"):
        await contexts["a"].send_sync("silent", question(), 0.05)


async def test_one_message_asked_twice_at_a_time_is_answered_twice(
    contexts: dict[str, AsyncContext],
) -> None:
    asked = question("same")
    asking = (contexts["a"].send_sync(name, asked, 10) for name in ("b", "b", "c"))
    answers = await asyncio.gather(*asking)
    assert [answer.content for answer in answers] == ["b: same", "b: same", "c: same"]


async def test_an_answer_to_nobody_is_counted_not_kept(contexts: dict[str, AsyncContext]) -> None:
    asked = question()
    with pytest.raises(Timeout):
        await contexts["a"].send_sync("silent", asked, 0.01)
    late = (await contexts["silent"].receive(10)).response("late")
    await contexts["silent"].send_resp(late)
    await contexts["a"].send_sync("b", question(), 10)
    assert contexts["a"].unmatched_answers == 1


async def test_answering_what_nobody_asked_is_an_error(contexts: dict[str, AsyncContext]) -> None:
    with pytest.raises(ChannelError, match="it has no reply_to"):
        await contexts["b"].send_resp(question().response("OK"))


async def test_unknown_modules_and_groups_are_errors(contexts: dict[str, AsyncContext]) -> None:
    with pytest.raises(UnknownModule, match=r"'nobody' \(known: a, b, c, silent\)"):
        await contexts["a"].send("nobody", question())
    with pytest.raises(UnknownModule, match="group 'none'"):
        await contexts["a"].send_to_group("none", question())


async def test_receiving_times_out(contexts: dict[str, AsyncContext]) -> None:
    with pytest.raises(Timeout, match="'silent' within 0.01 s"):
        await contexts["silent"].receive(0.01)


async def test_answers_pass_a_full_inbox(contexts: dict[str, AsyncContext]) -> None:
    silent = contexts["silent"]
    with pytest.raises(ChannelFull):
        while True:
            await contexts["b"].send("silent", question("x" * 500_000), timeout=0)
    assert (await silent.send_sync("b", question(), 10)).content == "b: ?"


async def test_a_waiting_sender_goes_on_when_there_is_room(
    contexts: dict[str, AsyncContext],
) -> None:
    sent = 60
    sending = asyncio.create_task(send_many(contexts["a"], sent))
    got = [await contexts["silent"].receive(10) for _ in range(sent)]
    await asyncio.wait_for(sending, 10)
    assert [message.content[:2] for message in got] == [f"{n:02}" for n in range(sent)]


async def send_many(context: AsyncContext, count: int) -> None:
    for number in range(count):
        await context.send("silent", question(f"{number:02}" + "x" * 500_000), timeout=10)


async def test_taken_messages_are_acknowledged_by_done(contexts: dict[str, AsyncContext]) -> None:
    for number in range(3):
        await contexts["a"].send("silent", question(str(number)))
    taken = [await contexts["silent"].take(10) for _ in range(3)]
    inbox = contexts["silent"].registry.mailbox("silent").inbox
    assert inbox.qsize() == 3
    taken[2].done()
    taken[0].done()
    assert inbox.qsize() == 1
    taken[1].done()
    assert inbox.qsize() == 0


async def test_who_goes_on_waiting_is_woken_when_another_has_given_up(
    contexts: dict[str, AsyncContext],
) -> None:
    silent = contexts["silent"]
    waiting = asyncio.create_task(silent.take())
    given_up = asyncio.create_task(silent.take())
    with pytest.raises(Timeout):
        await silent.take(0.01)
    given_up.cancel()
    await asyncio.wait([given_up])
    await contexts["a"].send("silent", question("here"))
    assert (await asyncio.wait_for(waiting, 10)).message.content == "here"


async def test_stopping_ends_iteration_and_receive(contexts: dict[str, AsyncContext]) -> None:
    waiting = asyncio.create_task(contexts["silent"].receive())
    await asyncio.sleep(0)
    contexts["silent"].stop()
    with pytest.raises(Closed, match="asked to stop"):
        await asyncio.wait_for(waiting, 10)


def test_the_blocking_context_does_the_same() -> None:
    registry = ChannelRegistry()
    for name, group in {"a": "asking", "b": "echo", "c": "echo"}.items():
        registry.add_module(name, group)
    asking = Context(registry, "a")
    echoes = [Context(registry, name) for name in ("b", "c")]

    def echo(context: Context) -> None:
        for message in context:
            context.send_resp(message.response(f"{context.name}: {message.content}"))

    threads = [threading.Thread(target=echo, args=[context]) for context in echoes]
    for thread in threads:
        thread.start()
    results: list[str] = []
    askers = [
        threading.Thread(
            target=lambda n=number: results.append(  # type: ignore[misc]
                asking.send_sync("b", question(str(n)), 10).content
            )
        )
        for number in range(8)
    ]
    same = question("same")
    askers += [
        threading.Thread(target=lambda: results.append(asking.send_sync("b", same, 10).content))
        for _ in range(8)
    ]
    for thread in askers:
        thread.start()
    for thread in askers:
        thread.join(10)
    group = asking.send_to_group_sync("echo", question(), 10)
    for context in echoes:
        context.stop()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()
    assert sorted(results) == [*(f"b: {number}" for number in range(8)), *["b: same"] * 8]
    assert sorted(answer.content for answer in group) == ["b: ?", "c: ?"]
    with pytest.raises(Timeout):
        asking.receive(0.01)


def test_the_first_of_several_errors_has_the_others_as_notes() -> None:
    failures = Failures()
    for text in ("first", "second", "third"):
        with failures:
            raise ChannelError(text)
    with pytest.raises(ChannelError, match="first") as raised:
        failures.raise_first()
    assert raised.value.__notes__ == ["and: second", "and: third"]
