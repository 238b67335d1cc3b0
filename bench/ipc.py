"""Messages between processes, beside what else Python has for it.

Run with `make bench-ipc`. Every system carries the same ipc.Message: encoded by the sender for
each send and decoded by the receiver (MessagePack; multiprocess.Queue pickles, as it always
does). One send is one message, sent when the call returns or handed to the system's own buffers.
The receiver's clock runs from the first message to the last.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import multiprocess
from multiprocess.connection import wait

from bench.figures import Figure, median, publish
from ipc import Context, Message, Registry
from ipc.message import decode, encode

SIZES = {"100 B": 100, "300 B": 300, "4 kB": 4096, "64 kB": 65536}
ROUND_TRIPS = 3000

Send = Callable[[Message], None]
Receive = Callable[[], Message]


class Cloudcore:
    """The public interface: a module's context."""

    name = "cloudcore"
    count = 200_000

    def __init__(self, senders: int) -> None:
        self._registry = Registry()
        for module in ("reader", *(f"sender-{i}" for i in range(senders))):
            self._registry.add_module(module)

    def sender(self, index: int) -> Send:
        send = Context(self._registry, f"sender-{index}").send
        return lambda message: send("reader", message)

    def receiver(self) -> Receive:
        return Context(self._registry, "reader").receive

    def asker(self) -> Callable[[Message], Message]:
        context = Context(self._registry, "sender-0")
        return lambda message: context.send_sync("reader", message)

    def answer(self) -> None:
        context = Context(self._registry, "reader")
        for message in context:
            context.send_resp(message.response(message.content))

    def close(self) -> None:
        pass


class Queue:
    name = "multiprocess.Queue"
    count = 4000

    def __init__(self, _senders: int) -> None:
        self._queue: Any = multiprocess.Queue(1024)
        self._answers: Any = multiprocess.Queue(1024)

    def sender(self, _index: int) -> Send:
        return self._queue.put

    def receiver(self) -> Receive:
        return self._queue.get

    def asker(self) -> Callable[[Message], Message]:
        def ask(message: Message) -> Message:
            self._queue.put(message)
            return self._answers.get()

        return ask

    def answer(self) -> None:
        while True:
            message = self._queue.get()
            self._answers.put(message.response(message.content))

    def close(self) -> None:
        for queue in (self._queue, self._answers):
            queue.close()
            queue.join_thread()


class Pipe:
    """One pipe for each sender: two writers of one would mix their bytes."""

    name = "multiprocess.Pipe"
    count = 40_000

    def __init__(self, senders: int) -> None:
        self._pipes = [multiprocess.Pipe() for _ in range(senders)]

    def sender(self, index: int) -> Send:
        send = self._pipes[index][1].send_bytes
        return lambda message: send(encode(message))

    def receiver(self) -> Receive:
        ends = [ends[0] for ends in self._pipes]
        if len(ends) == 1:
            receive = ends[0].recv_bytes
            return lambda: decode(receive())

        def received() -> Iterator[Message]:
            while True:
                for end in wait(ends):
                    yield decode(end.recv_bytes())

        return received().__next__

    def asker(self) -> Callable[[Message], Message]:
        end = self._pipes[0][1]

        def ask(message: Message) -> Message:
            end.send_bytes(encode(message))
            return decode(end.recv_bytes())

        return ask

    def answer(self) -> None:
        end = self._pipes[0][0]
        while True:
            message = decode(end.recv_bytes())
            end.send_bytes(encode(message.response(message.content)))

    def close(self) -> None:
        for ends in self._pipes:
            for end in ends:
                end.close()


class Zmq:
    name = "pyzmq"
    count = 100_000

    def __init__(self, _senders: int) -> None:
        self._directory = tempfile.TemporaryDirectory()
        self._address = f"ipc://{self._directory.name}/socket"
        self._sockets: list[Any] = []

    def _socket(self, kind: str, *, bind: bool) -> Any:
        import zmq

        socket = zmq.Context().socket(getattr(zmq, kind))
        (socket.bind if bind else socket.connect)(self._address)
        self._sockets.append(socket)
        return socket

    def sender(self, _index: int) -> Send:
        send = self._socket("PUSH", bind=False).send
        return lambda message: send(encode(message))

    def receiver(self) -> Receive:
        receive = self._socket("PULL", bind=True).recv
        return lambda: decode(receive())

    def asker(self) -> Callable[[Message], Message]:
        socket = self._socket("REQ", bind=False)

        def ask(message: Message) -> Message:
            socket.send(encode(message))
            return decode(socket.recv())

        return ask

    def answer(self) -> None:
        socket = self._socket("REP", bind=True)
        while True:
            message = decode(socket.recv())
            socket.send(encode(message.response(message.content)))

    def close(self) -> None:
        for socket in self._sockets:
            socket.context.destroy(linger=0)
        self._directory.cleanup()


class FasterFifo:
    name = "faster-fifo"
    count = 40_000

    def __init__(self, _senders: int) -> None:
        import faster_fifo

        self._queues = [
            faster_fifo.Queue(8 * 1024 * 1024, loads=lambda data: decode(bytes(data)), dumps=encode)
            for _ in range(2)
        ]

    def sender(self, _index: int) -> Send:
        put = self._queues[0].put
        return lambda message: put(message, timeout=30)

    def receiver(self) -> Receive:
        def received() -> Iterator[Message]:
            while True:
                yield from self._queues[0].get_many(timeout=30)

        return received().__next__

    def asker(self) -> Callable[[Message], Message]:
        there, back = self._queues

        def ask(message: Message) -> Message:
            there.put(message, timeout=30)
            return back.get(timeout=30)

        return ask

    def answer(self) -> None:
        there, back = self._queues
        while True:
            message = there.get(timeout=30)
            back.put(message.response(message.content), timeout=30)

    def close(self) -> None:
        for queue in self._queues:
            queue.close()


SYSTEMS: list[Any] = [Cloudcore, Zmq, FasterFifo, Pipe, Queue]


@contextmanager
def running(target: Callable[..., None], *argument_lists: tuple[Any, ...]) -> Iterator[None]:
    processes = [
        multiprocess.get_context("fork").Process(target=target, args=arguments, daemon=True)
        for arguments in argument_lists
    ]
    for process in processes:
        process.start()
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.join()


def send_all(system: Any, index: int, size: int, count: int, fresh: bool) -> None:
    send = system.sender(index)
    message = a_message(size)
    for _ in range(count):
        send(a_message(size) if fresh else message)
    while True:  # what is in this process's memory has still to go; it is killed when it has
        time.sleep(1)


def a_message(size: int) -> Message:
    return Message.build("edgecontroller", "resource", "update", "node/e/default/pod/p", "x" * size)


def throughput(kind: Any, size: int, senders: int, share: float, *, fresh: bool = False) -> float:
    """Messages a second, from `senders` processes to this one."""
    count = max(200, int(kind.count * share)) // senders
    system = kind(senders)
    receive = system.receiver() if kind is Zmq else None  # it binds before others connect
    with running(send_all, *((system, i, size, count, fresh) for i in range(senders))):
        receive = receive or system.receiver()
        receive()
        begun = time.perf_counter()
        for _ in range(count * senders - 1):
            receive()
        elapsed = time.perf_counter() - begun
    system.close()
    return (count * senders - 1) / elapsed


def round_trips(kind: Any, count: int) -> list[float]:
    """Seconds of each of many questions, the next one asked when the one before is answered."""
    system = kind(1)
    with running(system.answer, ()):
        ask = system.asker()
        times = []
        for _ in range(count):
            question = a_message(300)
            begun = time.perf_counter()
            answer = ask(question)
            times.append(time.perf_counter() - begun)
            assert answer.parent_id == question.id
    system.close()
    return times[count // 10 :]  # the first ones start things


def measure(runs: int, share: float) -> list[Figure]:
    rates: dict[tuple[str, str], list[float]] = {}
    medians: dict[str, list[float]] = {}
    ninety_ninths: dict[str, list[float]] = {}
    for run in range(runs):
        print(f"run {run + 1} of {runs}", flush=True)
        for kind in SYSTEMS:
            for case, size in SIZES.items():
                part = share * min(1.0, 2000 / size)
                rates.setdefault((case, kind.name), []).append(throughput(kind, size, 1, part))
            case = "300 B, each a new Message"
            rate = throughput(kind, 300, 1, share, fresh=True)
            rates.setdefault((case, kind.name), []).append(rate)
            rate = throughput(kind, 300, 3, share)
            rates.setdefault(("300 B from 3 senders", kind.name), []).append(rate)
            times = sorted(round_trips(kind, max(100, int(ROUND_TRIPS * share))))
            medians.setdefault(kind.name, []).append(statistics.median(times))
            ninety_ninths.setdefault(kind.name, []).append(times[int(len(times) * 0.99)])
    return [*of_rates(rates), *of_round_trips(medians, ninety_ninths)]


def of_rates(rates: dict[tuple[str, str], list[float]]) -> Iterator[Figure]:
    for (case, system), values in rates.items():
        yield Figure(case, system, "throughput", median(values, 0), "messages/s")
        if case in SIZES:
            per_message = len(encode(a_message(SIZES[case])))
            yield Figure(case, system, "bytes", median(values, 0) * per_message, "bytes/s")
        if system != Cloudcore.name:
            ratios = [a / b for a, b in zip(rates[case, Cloudcore.name], values, strict=True)]
            yield Figure(case, system, "cloudcore has so many times as much", median(ratios), "x")


def of_round_trips(
    medians: dict[str, list[float]], ninety_ninths: dict[str, list[float]]
) -> Iterator[Figure]:
    case = "question and answer, 300 B"
    for metric, found in {"median": medians, "p99": ninety_ninths}.items():
        for system, values in found.items():
            yield Figure(case, system, metric, median([v * 1e6 for v in values], 1), "us")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--share", type=float, default=1.0, help="of the messages of a full run")
    options = parser.parse_args()
    figures = measure(options.runs, options.share)
    how = (
        f"{options.runs} runs of every system in turn, medians; {os.cpu_count()} cores, "
        f"Python {platform.python_version()}"
    )
    publish("ipc", how, figures)


if __name__ == "__main__":
    main()
