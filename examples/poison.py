"""A poison message, which becomes a dead letter: `python -m examples.poison`."""

import os
import tempfile
from pathlib import Path

import multiprocess

from ipc import Channel, DeadLetterBox, Message


def work(channel: Channel) -> None:
    while True:
        message = channel.get(timeout=30)
        if message.content == "poison":
            os.abort()
        if message.content == "enough":
            return
        print(f"{message.content} is done", flush=True)


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        box = DeadLetterBox(Path(directory))
        channel = Channel("worker", max_deliveries=2, dead_letters=box.directory)
        for content in ["bread", "poison", "wine", "enough"]:
            channel.put(Message.build("kitchen", "", "update", "order", content))
        exitcode = None
        while exitcode != 0:
            process = multiprocess.Process(target=work, args=(channel,))
            process.start()
            process.join()
            exitcode = process.exitcode
            print(f"the worker ended with {exitcode}")
        for letter in box.letters():
            print(f"dead letter: {letter.message().content} ({letter.reason})")


if __name__ == "__main__":
    main()
