"""Modules that misbehave in every way, and some that do not."""

from __future__ import annotations

import asyncio
import ctypes
import os
import select
import signal
import subprocess
import time
from typing import Any

from pydantic import Field

from ipc import Message
from supervisor.module import CannotStart, Module, ModuleConfig


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
    """Is well only when it has luck."""

    name = "raising"

    def start(self, context: Any) -> None:
        self.note("start")
        if not (self.settings.data_dir / "luck").exists():
            raise ValueError("no such luck")
        context.ready()
        for _ in context:
            pass


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

    class Config(ModuleConfig):
        port: int = 0

    config: Config

    @classmethod
    def listeners(cls, config: Any) -> dict[str, tuple[str, int]]:
        return {"echo": ("127.0.0.1", config.port)}

    def start(self, context: Any) -> None:
        sock = context.sockets["echo"]
        sock.setblocking(True)
        context.ready()
        while True:
            connection, _ = sock.accept()
            with connection:
                connection.sendall(str(os.getpid()).encode())


class Seized(Listening):
    """Holds the interpreter's lock for ever: none of its threads runs any more."""

    name = "seized"

    def start(self, context: Any) -> None:
        context.ready()
        ctypes.PyDLL(None).sleep(3600)


class Hanging(Noting):
    """Its event loop stops turning as soon as it is told to."""

    name = "hanging"

    async def start(self, context: Any) -> None:
        context.ready()
        await context.receive()
        self.note("hangs")
        time.sleep(3600)  # noqa: ASYNC251


class Stuck(Noting):
    """A blocking module: it takes `content` seconds for a message, alive or not."""

    name = "stuck"

    def start(self, context: Any) -> None:
        context.ready()
        for message in context:
            seconds, alive = message.content
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                if alive:
                    context.alive()
                time.sleep(0.05)
            context.send_resp(message.response("done"))


class Telling(Noting):
    """Sends one message to another module, and reports what came of it."""

    name = "telling"

    class Config(ModuleConfig):
        to: str = "stuck"
        content: list[float | bool] = Field(default_factory=list)

    config: Config

    async def start(self, context: Any) -> None:
        context.ready()
        message = Message.build("telling", "test", "update", "r", self.config.content)
        answer = await context.send_sync(self.config.to, message, 30)
        context.report(answer=answer.content)
        await context.stopped()


class Greedy(Noting):
    """Takes memory and descriptors, more and more."""

    name = "greedy"

    class Config(ModuleConfig):
        mebibytes: int = 0
        descriptors: int = 0

    config: Config

    async def start(self, context: Any) -> None:
        self.note("start")
        kept = [b"x" * (1 << 20) for _ in range(self.config.mebibytes)]
        fds = [os.open(os.devnull, os.O_RDONLY) for _ in range(self.config.descriptors)]
        context.ready()
        await context.stopped()
        self.note(f"unwound {len(kept)} {len(fds)}")


class Segfaulting(Noting):
    """Writes more lines than are kept, and then to where it may not."""

    name = "segfaulting"

    async def start(self, context: Any) -> None:
        context.ready()
        for number in range(300):
            os.write(2, f"line {number}\n".encode())
        await asyncio.sleep(0)
        ctypes.string_at(0)


class Chatty(Noting):
    """Writes far more than anybody takes, and must not be stopped by it."""

    name = "chatty"

    def start(self, context: Any) -> None:
        context.ready()
        for _ in range(200):
            try:
                os.write(2, b"x" * 60_000 + b"\n")
            except BlockingIOError:
                context.report(refused=True)
        poll = select.poll()
        poll.register(1, select.POLLOUT)
        poll.poll()
        print("on stdout")
        context.report(wrote=True)
        for _ in context:
            pass


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
    def listeners(cls, config: Any) -> dict[str, tuple[str, int]]:
        return {"shared": ("127.0.0.1", 0)}

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


class Hearing(Noting):
    """Stops only when it has heard SIGTERM and SIGHUP, both."""

    name = "hearing"

    def start(self, context: Any) -> None:
        heard = set()
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda number, _: heard.add(number))
        context.ready()
        while len(heard) < 2:
            signal.pause()
        context.stop()
        self.note("unwound")


class Lingering(Noting):
    """Its cleanup takes its time."""

    name = "lingering"

    def start(self, context: Any) -> None:
        context.ready()
        for _ in context:
            pass

    def cleanup(self) -> None:
        self.note("cleanup")
        time.sleep(3600)


class Environment(Noting):
    """Tells which environment variables it has."""

    name = "environment"

    async def start(self, context: Any) -> None:
        context.report(names=list(os.environ))
        context.ready()
        await context.stopped()


class Orphaning(Noting):
    """Its children leave children of their own behind, which end later."""

    name = "orphaning"

    def start(self, context: Any) -> None:
        for _ in range(5):
            subprocess.run(["sh", "-c", "sleep 0.1 & exit"], check=True)
        context.report(left=5)
        context.ready()
        for _ in context:
            pass


MODULES: tuple[type[Module], ...] = (
    *(Good, Asking, Raising, Returning, Refusing, Slow, Deaf, Parent, Listening),
    *(Hanging, Stuck, Telling, Greedy, Segfaulting, Chatty, Several, Measured),
    *(Hearing, Lingering, Environment, Orphaning, Seized),
)
