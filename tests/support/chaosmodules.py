"""Three modules that exchange numbered messages, keep journals, and misbehave when told to.

What they are told is a real-time signal of its own for each kind of misbehaviour (`ORDERS`), so
that it reaches them in any state: one that is not yet there to hear it is ended by it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NoReturn

import msgspec

from ipc import ChannelFull, Closed, Message, ModuleUnavailable, Timeout
from supervisor.api import Module
from tests.support.journals import Journal, read

NAMES: Final = ("anna", "bert", "carl")
PAUSE: Final = 0.005  # seconds between two rounds of sending
_ROUNDS_A_CHILD: Final = 200


class Mischief(Exception):
    """What a module raises for no reason."""


class Outgoing:
    """The numbered messages to one other module: each is noted before it is sent, and after."""

    def __init__(self, directory: Path, sender: str, receiver: str) -> None:
        path = directory / f"sent-{sender}-{receiver}"
        self.receiver = receiver
        self._sender = sender
        self._number = max((int(number) for _, number in read(path)), default=0)
        self._journal = Journal(path)
        self._refused = False

    def message(self) -> Message:
        """Make the next message, or the one again that was refused."""
        if not self._refused:
            self._number += 1
            self._journal.note("intent", self._number)
            self._refused = True  # until it is said to be sent
        number = self._number
        return Message.build(self._sender, "chaos", "update", str(number), content(number))

    def sent(self) -> None:
        self._refused = False
        self._journal.note("sent", self._number)


def work() -> float:
    """Say how many seconds a message is worked on before it is noted: one is often in hand."""
    return random.uniform(0, 0.002)


def content(number: int) -> str:
    """What the message of that number carries: little mostly, and much now and then."""
    return "x" * (200_000 if number % 97 == 0 else number * 37 % 2000)


class Chaotic(Module):
    """What the three have in common."""

    group = "chaos"

    def begin(self) -> None:
        """Note that a life has begun."""
        self.directory = self.settings.data_dir / "journals"
        self._lives = Journal(self.directory / f"lives-{self.name}")
        self._lives.note("start", self._life())
        self._received = Journal(self.directory / f"received-{self.name}")
        self.outgoing = [
            Outgoing(self.directory, self.name, name) for name in NAMES if name != self.name
        ]
        self.leaks: set[str] = set()
        self._leaked: list[bytes] = []
        self._opened: list[int] = []
        self._children: list[subprocess.Popen[bytes]] = []
        self._round = 0

    def cleanup(self) -> None:
        journal = Journal(self.settings.data_dir / "journals" / f"lives-{self.name}")
        life = self._life()
        journal.note("cleanup", life, os.getpid())
        time.sleep(random.uniform(0, 0.1))  # work, during which something may happen
        journal.note("cleaned", life, os.getpid())

    def received(self, message: Message) -> None:
        number = int(message.resource)
        if message.content != content(number):
            raise ValueError(f"message {number} of {message.source} is not what was sent")
        self._received.note(message.source, number, message.redelivered)

    def to_send(self) -> list[Outgoing]:
        """Do what else belongs to a round, and say to whom to send."""
        self._leak()
        if self._round % _ROUNDS_A_CHILD == 0:
            self._bear()
        self._round += 1
        return [] if (self.directory / "quiet").exists() else self.outgoing

    def _bear(self) -> None:
        """Start a process that stays, and one that leaves another one behind."""
        self._children.append(subprocess.Popen(["sleep", "3600"]))
        subprocess.run(["sh", "-c", "sleep 3600 &"], check=True)

    def _leak(self) -> None:
        if "memory" in self.leaks and len(self._leaked) < 40:
            self._leaked.append(b"x" * (4 << 20))
        if "descriptors" in self.leaks and len(self._opened) < 300:
            self._opened.extend(os.open(os.devnull, os.O_RDONLY) for _ in range(10))

    def _life(self) -> str:
        """Name this life, or the one to be cleaned up after: the supervisor's own note of it."""
        try:
            note = (self.settings.run_dir / "runs" / self.name).read_bytes()
        except FileNotFoundError:  # it has ended before it was noted
            return "unborn"
        life = msgspec.json.decode(note)
        return f"{life['pid']}.{life['started']}"


class Anna(Chaotic):
    """Runs an event loop, and has several messages in hand, which are done in any order."""

    name = "anna"

    async def start(self, context: Any) -> None:
        self.begin()
        loop = asyncio.get_running_loop()
        told: asyncio.Future[None] = loop.create_future()
        for number, order in _BY_SIGNAL.items():
            loop.add_signal_handler(number, self._obey, order, told)
        context.ready()
        tasks = [
            asyncio.create_task(self._receive(context)),
            asyncio.create_task(self._send(context)),
        ]
        await asyncio.wait([told, *tasks], return_when=asyncio.FIRST_COMPLETED)
        for task in (told, *tasks):
            if task.done():
                await task
        tasks[1].cancel()

    def _obey(self, order: Order, told: asyncio.Future[None]) -> None:
        try:
            order(self)
        except BaseException as error:  # for the task: a callback's would only be logged
            if not told.done():
                told.set_exception(error)

    async def _receive(self, context: Any) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                delivery = await context.take()
            except Closed:
                return
            await asyncio.sleep(work())
            self.received(delivery.message)
            loop.call_later(random.uniform(0, 0.02), delivery.done)

    async def _send(self, context: Any) -> None:
        while not context.stopping:
            for outgoing in self.to_send():
                with contextlib.suppress(ModuleUnavailable, ChannelFull):
                    await context.send(outgoing.receiver, outgoing.message(), 0.1)
                    outgoing.sent()
            await asyncio.sleep(PAUSE)


class Blocking(Chaotic):
    def begin(self) -> None:
        super().begin()
        for number, order in _BY_SIGNAL.items():
            signal.signal(number, lambda _number, _frame, order=order: order(self))

    def send(self, context: Any) -> None:
        for outgoing in self.to_send():
            with contextlib.suppress(ModuleUnavailable, ChannelFull):
                context.send(outgoing.receiver, outgoing.message(), 0.1)
                outgoing.sent()


class Bert(Blocking):
    """Blocks in its receive loop, and sends in a thread."""

    name = "bert"

    def start(self, context: Any) -> None:
        self.begin()
        sending = threading.Thread(target=self._send, args=(context,), daemon=True)
        sending.start()
        context.ready()
        for message in context:
            time.sleep(work())
            self.received(message)
        sending.join()

    def _send(self, context: Any) -> None:
        while not context.stopping:
            self.send(context)
            time.sleep(PAUSE)


class Carl(Blocking):
    """Has one thread, which receives and sends by turns."""

    name = "carl"

    def start(self, context: Any) -> None:
        self.begin()
        context.ready()
        while not context.stopping:
            self.send(context)
            with contextlib.suppress(Timeout, Closed):
                until = time.monotonic() + PAUSE
                while (left := until - time.monotonic()) > 0:
                    message = context.receive(left)
                    time.sleep(work())
                    self.received(message)


# ------------------------------------------------------------------------------ mischief

Order = Callable[[Chaotic], None]


def _exit(status: object) -> Order:
    def order(_: Chaotic) -> NoReturn:
        sys.exit(status)  # type: ignore[arg-type]

    return order


def _end(status: int) -> Order:
    def order(_: Chaotic) -> NoReturn:
        os._exit(status)

    return order


def _leak(what: str) -> Order:
    def order(module: Chaotic) -> None:
        module.leaks.add(what)

    return order


def _raise(_: Chaotic) -> NoReturn:
    raise Mischief("for no reason")


def _hang(_: Chaotic) -> NoReturn:
    while True:
        time.sleep(0.1)


ORDERS: Final[dict[str, Order]] = {
    "sys.exit(0)": _exit(0),
    "sys.exit(1)": _exit(1),
    "sys.exit(2)": _exit(2),
    "sys.exit(255)": _exit(255),
    "sys.exit(text)": _exit("text"),
    "os._exit(0)": _end(0),
    "os._exit(1)": _end(1),
    "os._exit(2)": _end(2),
    "os._exit(255)": _end(255),
    "exception": _raise,
    "hang": _hang,
    "memory": _leak("memory"),
    "descriptors": _leak("descriptors"),
}
SIGNALS: Final = {name: int(signal.SIGRTMIN) + at for at, name in enumerate(ORDERS)}
_BY_SIGNAL: Final = {SIGNALS[name]: order for name, order in ORDERS.items()}

CHAOTIC: tuple[type[Module], ...] = (Anna, Bert, Carl)
