"""Modules that misbehave in every way, and a supervisor for them: `testbed BASE MODULE,...`."""

from __future__ import annotations

import os
import signal
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

from ipc import Message
from supervisor.config import installed, load
from supervisor.module import CannotStart, Module
from supervisor.paths import resolve
from supervisor.running import run


class Noting(Module):
    group = "test"

    def note(self, text: str) -> None:
        notes = self.settings.data_dir / "notes"
        notes.mkdir(exist_ok=True)
        with (notes / self.name).open("a") as file:
            file.write(f"{text} {os.getpid()}\n")

    def cleanup(self) -> None:
        self.note("cleanup")


class Good(Noting):
    """Blocks in its receive loop, and answers."""

    name = "good"

    def start(self, context: Any) -> None:
        self.note("start")
        context.report(answered=0)
        context.ready()
        for number, message in enumerate(context, 1):
            context.report(answered=number)
            if message.sync:
                context.send_resp(message.response(message.content))
        self.note("unwound")


class Asking(Noting):
    """Runs an event loop; sends numbered messages to `good` and checks every answer."""

    name = "asking"

    async def start(self, context: Any) -> None:
        self.note("start")
        context.ready()
        number = 0
        while not context.stopping:
            question = Message.build("asking", "test", "query", "r", number)
            answer = await context.send_sync("good", question, 15)
            assert answer.content == number
            number += 1
            context.report(asked=number)
        self.note("unwound")


class Raising(Noting):
    name = "raising"

    def start(self, context: Any) -> None:
        self.note("start")
        raise ValueError("no such luck")


class Returning(Noting):
    name = "returning"

    def start(self, context: Any) -> None:
        self.note("start")


class Refusing(Noting):
    name = "refusing"

    async def start(self, context: Any) -> None:
        self.note("start")
        raise CannotStart("the certificate is not for this key")


class Slow(Noting):
    """Never becomes ready."""

    name = "slow"

    def start(self, context: Any) -> None:
        self.note("start")
        signal.pause()


class Deaf(Noting):
    """Does not heed any signal that can be ignored."""

    name = "deaf"

    def start(self, context: Any) -> None:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
            signal.signal(number, signal.SIG_IGN)
        self.note("start")
        context.ready()
        while True:
            time.sleep(3600)


class Parent(Noting):
    """Starts a process of its own that would stay."""

    name = "parent"

    def start(self, context: Any) -> None:
        if (child := os.fork()) == 0:
            signal.pause()
            os._exit(0)
        context.report(child=child)
        context.ready()
        for _ in context:
            pass


class Listening(Noting):
    """Has a listening socket from the supervisor."""

    name = "listening"

    @classmethod
    def listeners(cls, config: Any) -> dict[str, tuple[str, int]]:
        return {"echo": ("127.0.0.1", 0)}

    def start(self, context: Any) -> None:
        sock = context.sockets["echo"]
        sock.setblocking(True)
        context.ready()
        while True:
            connection, _ = sock.accept()
            with connection:
                connection.sendall(str(os.getpid()).encode())


MODULES = (Good, Asking, Raising, Returning, Refusing, Slow, Deaf, Parent, Listening)


def _given(module: type[Module]) -> type[Module]:
    return module


def main() -> None:
    base, enabled, *sets = sys.argv[1:]
    names = ", ".join(f'"{name}"' for name in enabled.split(","))
    os.umask(0o022)
    file = Path(base) / "cloudcore.toml"
    load_again = partial(
        load,
        file if file.exists() else None,
        sets if file.exists() else [f"modules.enabled=[{names}]", *sets],
        {},
        modules={
            **installed.find(),
            **{module.name: partial(_given, module) for module in MODULES},
        },
    )
    sys.exit(run(load_again(), resolve(Path(base) / "run", Path(base)), load_again))


if __name__ == "__main__":
    main()
