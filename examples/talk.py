"""Two modules in processes of their own exchange messages: `python -m examples.talk`."""

import multiprocess

from ipc import ChannelRegistry, Context, Message


def listen(registry: ChannelRegistry) -> None:
    context = Context(registry, "listener")
    for message in context:
        print(f"{message.source} says {message.content!r} about {message.resource}", flush=True)
        if message.operation == "goodbye":
            context.stop()


def talk(registry: ChannelRegistry) -> None:
    context = Context(registry, "talker")
    for operation, content in [("update", "hello"), ("update", b"bytes"), ("goodbye", {"n": 3})]:
        context.send("listener", Message.build("talker", "", operation, "weather", content))


def main() -> None:
    registry = ChannelRegistry()
    registry.add_module("talker")
    registry.add_module("listener")
    processes = [multiprocess.Process(target=run, args=(registry,)) for run in (listen, talk)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()


if __name__ == "__main__":
    main()
