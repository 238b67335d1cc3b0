"""Sends one message to every member of a group: `python -m examples.broadcast`."""

import multiprocess

from ipc import ChannelRegistry, Context, Message

MEMBERS = ("north", "south", "west")


def member(registry: ChannelRegistry, name: str) -> None:
    message = Context(registry, name).receive(timeout=30)
    print(f"{name} heard {message.content!r}", flush=True)


def main() -> None:
    registry = ChannelRegistry()
    registry.add_module("crier")
    for name in MEMBERS:
        registry.add_module(name, group="town")
    processes = [multiprocess.Process(target=member, args=(registry, name)) for name in MEMBERS]
    for process in processes:
        process.start()
    crier = Context(registry, "crier")
    crier.send_to_group("town", Message.build("crier", "town", "update", "market", "it is open"))
    for process in processes:
        process.join()


if __name__ == "__main__":
    main()
