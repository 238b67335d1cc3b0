"""Sends questions with asyncio and awaits their answers: `python -m examples.question`."""

import asyncio

import multiprocess

from ipc import AsyncContext, ChannelRegistry, Context, Message


def answer(registry: ChannelRegistry) -> None:
    context = Context(registry, "calculator")
    for message in context:
        context.send_resp(message.response(sum(message.content)))


async def ask(registry: ChannelRegistry) -> None:
    context = AsyncContext(registry, "asker")
    questions = [Message.build("asker", "", "query", "sum", [n, n + 1]) for n in range(3)]
    answers = await asyncio.gather(
        *(context.send_sync("calculator", question, timeout=30) for question in questions)
    )
    for question, answer in zip(questions, answers, strict=True):
        print(f"the sum of {question.content} is {answer.content}")
    context.close()


def main() -> None:
    registry = ChannelRegistry()
    registry.add_module("asker")
    registry.add_module("calculator")
    process = multiprocess.Process(target=answer, args=(registry,), daemon=True)
    process.start()
    asyncio.run(ask(registry))
    process.terminate()
    process.join()


if __name__ == "__main__":
    main()
