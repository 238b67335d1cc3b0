"""Modules that do as they should, each in a way of its own."""

from __future__ import annotations

import gc
import os
import signal
from contextlib import suppress
from typing import Any

from pydantic import Field

from ipc import ChannelFull, Message
from supervisor.api import Listener, Module, ModuleConfig, Settings


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


class Late(Noting):
    """Is ready when the test has opened the pipe BASE/gate, which it has made."""

    name = "late"

    def start(self, context: Any) -> None:
        (self.settings.data_dir / "gate").read_bytes()
        context.ready()
        for _ in context:
            pass


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


class Telling(Noting):
    """Sends one message to another module, and reports what came of it."""

    name = "telling"

    class Config(ModuleConfig):
        to: str = "stuck"
        content: list[float | bool | str] = Field(default_factory=list)
        once: bool = False

    config: Config

    async def start(self, context: Any) -> None:
        context.ready()
        if self.config.once and (self.settings.data_dir / "notes" / "telling").exists():
            await context.stopped()
            return
        self.note("tells")
        message = Message.build("telling", "test", "update", "r", self.config.content)
        answer = await context.send_sync(self.config.to, message, 30)
        context.report(answer=answer.content)
        await context.stopped()


class Flooding(Noting):
    """Sends to another module until its channel is full, and goes on as soon as there is room."""

    name = "flooding"

    class Config(ModuleConfig):
        to: str = "good"

    config: Config

    async def start(self, context: Any) -> None:
        context.ready()
        content = b"x" * 100_000
        while not context.stopping:
            message = Message.build("flooding", "test", "update", "r", content)
            with suppress(ChannelFull):
                await context.send(self.config.to, message, 1)


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

    class Config(ModuleConfig):
        port: int = 0

    config: Config

    @classmethod
    def listeners(cls, config: Any, settings: Settings) -> dict[str, Listener]:
        return {"echo": Listener("127.0.0.1", config.port)}

    @classmethod
    def unix_sockets(cls, config: Any) -> list[str]:
        return ["listening.sock"]

    def start(self, context: Any) -> None:
        sock = context.sockets["echo"]
        sock.setblocking(True)
        context.ready()
        while True:
            connection, _ = sock.accept()
            with connection:
                connection.sendall(str(os.getpid()).encode())


class Several(Noting):
    """One module in several processes."""

    name = "several"

    class Config(ModuleConfig):
        processes: int = 2

    config: Config

    @classmethod
    def processes(cls, config: Any) -> int:
        return int(config.processes)

    @classmethod
    def listeners(cls, config: Any, settings: Settings) -> dict[str, Listener]:
        return {"shared": Listener("127.0.0.1", 0)}

    async def start(self, context: Any) -> None:
        context.report(name=context.name, group=context.group)
        context.ready()
        await context.stopped()


class Measured(Noting):
    """Has metrics of its own."""

    name = "measured"

    async def start(self, context: Any) -> None:
        from prometheus_client import Counter, Gauge

        starts = Counter("testbed_starts", "Starts.")
        mood = Gauge("testbed_mood", "Mood.", ["which"], multiprocess_mode="livesum")
        starts.inc()
        if starts._value.get() < 2:  # only the first process has a mood
            mood.labels("good").set(7)
        context.ready()
        await context.stopped()


class Environment(Noting):
    """Tells which environment variables it has."""

    name = "environment"

    async def start(self, context: Any) -> None:
        context.report(names=list(os.environ))
        context.ready()
        await context.stopped()


class Heavy(Noting):
    """Needs an import that takes its time, and names one that does not exist."""

    name = "heavy"
    preload = ("tests.support.nowhere", "tests.support.heavy")

    async def start(self, context: Any) -> None:
        from tests.support import heavy

        heavy.LIVES.inc()
        context.report(imported_by=heavy.IMPORTED_BY, pid=os.getpid(), collects=gc.isenabled())
        context.ready()
        await context.stopped()


GOOD: tuple[type[Module], ...] = (
    *(Good, Asking, Telling, Parent, Listening),
    *(Several, Measured, Environment, Heavy, Flooding, Late),
)
