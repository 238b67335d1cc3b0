"""Modules that misbehave in every way."""

from __future__ import annotations

import asyncio
import ctypes
import errno
import os
import select
import signal
import subprocess
import time
from typing import Any

from supervisor.api import CannotStart, Module, ModuleConfig, Settings
from tests.support.goodmodules import Listening, Noting


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


class Picky(Noting):
    """Cannot be made of every configuration."""

    name = "picky"

    class Config(ModuleConfig):
        taste: str = "sweet"

    def __init__(self, config: Any, settings: Settings) -> None:
        super().__init__(config, settings)
        if config.taste != "sweet":
            raise ValueError(f"{config.taste} is not to its taste")

    def start(self, context: Any) -> None:
        self.note(self.config.taste)
        context.ready()
        for _ in context:
            pass


class Crowded(Noting):
    """Finds no room on the disk for its file, unless it has luck."""

    name = "crowded"

    async def start(self, context: Any) -> None:
        if not (self.settings.data_dir / "luck").exists():
            file = str(self.settings.data_dir / "state")
            async with asyncio.TaskGroup() as group:
                group.create_task(
                    self._fail(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), file))
                )
        context.ready()
        await context.stopped()

    async def _fail(self, error: Exception) -> None:
        raise error


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


class Allergic(Noting):
    """Dies of one kind of message, unless it has luck; answers all others."""

    name = "allergic"

    def start(self, context: Any) -> None:
        context.ready()
        for number, message in enumerate(context, 1):
            if message.content == ["poison"] and not (self.settings.data_dir / "luck").exists():
                os.kill(os.getpid(), signal.SIGKILL)
            context.report(handled=number, last=message.content)
            if message.sync:
                context.send_resp(message.response("done"))


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


class Stubborn(Deaf):
    """Hears nothing, and its cleanup does not end either."""

    name = "stubborn"

    def cleanup(self) -> None:
        self.note("cleanup")
        time.sleep(3600)


class Fragile(Lingering):
    """Dies as soon as it is ready, and its cleanup takes its time."""

    name = "fragile"

    def start(self, context: Any) -> None:
        context.ready()
        time.sleep(0.2)  # so that it is seen
        os.kill(os.getpid(), signal.SIGKILL)


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


BAD: tuple[type[Module], ...] = (
    *(Raising, Returning, Refusing, Crowded, Slow, Deaf, Seized),
    *(Hanging, Stuck, Greedy, Segfaulting, Allergic, Chatty, Hearing),
    *(Lingering, Orphaning, Fragile, Stubborn, Picky),
)
