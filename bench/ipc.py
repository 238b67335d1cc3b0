"""Channels compared with other means of sending messages between processes.

Run with `make bench-ipc`. One send is one message, which has been sent, or is in the system's
buffers, when the call returns; in "64 at a time" one send is 64 messages. The receiver measures the
time from the first message to the last.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import multiprocess

from bench.figures import Figure, median, publish, say
from bench.ipc_systems import MANY, SYSTEMS, Cloudcore, Zmq
from ipc import Message
from ipc.message import encode

SIZES = {"100 B": 100, "300 B": 300, "4 kB": 4096, "64 kB": 65536}
ROUND_TRIPS = 3000


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
    while True:  # messages may still be in this process's memory; it is killed at the end
        time.sleep(1)


def send_all_in_lists(system: Any, count: int) -> None:
    send_many = system.sender_of_many()
    messages = [a_message(300) for _ in range(MANY)]
    for _ in range(count):
        send_many(messages)
    while True:
        time.sleep(1)


def a_message(size: int) -> Message:
    return Message.build("edgecontroller", "resource", "update", "node/e/default/pod/p", "x" * size)


def throughput(kind: Any, size: int, senders: int, share: float, *, fresh: bool = False) -> float:
    """Return the messages per second from `senders` processes to this one."""
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


def throughput_of_many(kind: Any, share: float) -> float:
    """Return the messages per second, 64 at a time, from one process to this one."""
    lists = max(20, int(kind.count * share) // MANY * 2)
    system = kind(1)
    receive = system.receiver_of_many() if kind is Zmq else None
    with running(send_all_in_lists, (system, lists)):
        receive = receive or system.receiver_of_many()
        left = lists * MANY - len(receive())
        total, begun = left, time.perf_counter()
        while left > 0:
            left -= len(receive())
        elapsed = time.perf_counter() - begun
    system.close()
    return total / elapsed


def round_trips(kind: Any, count: int) -> list[float]:
    """Return the seconds of each round trip; the next question is sent after each answer."""
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
    return times[count // 10 :]  # the first ones include start-up


def measure(runs: int, share: float) -> list[Figure]:
    rates: dict[tuple[str, str], list[float]] = {}
    medians: dict[str, list[float]] = {}
    ninety_ninths: dict[str, list[float]] = {}
    for run in range(runs):
        for kind in SYSTEMS:
            turn = f"run {run + 1} of {runs}, {kind.name}"
            for case, size in SIZES.items():
                say(f"{turn}: {case}")
                part = share * min(1.0, 2000 / size)
                rates.setdefault((case, kind.name), []).append(throughput(kind, size, 1, part))
            case = f"300 B, {MANY} at a time"
            say(f"{turn}: {case}")
            rate = throughput_of_many(kind, share)
            rates.setdefault((case, kind.name), []).append(rate)
            case = "300 B, each a new Message"
            say(f"{turn}: {case}")
            rate = throughput(kind, 300, 1, share, fresh=True)
            rates.setdefault((case, kind.name), []).append(rate)
            case = "300 B from 3 senders"
            say(f"{turn}: {case}")
            rate = throughput(kind, 300, 3, share)
            rates.setdefault((case, kind.name), []).append(rate)
            say(f"{turn}: question and answer")
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
            yield Figure(case, system, "cloudcore's, as a multiple", median(ratios), "x")


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
    parser.add_argument("--share", type=float, default=1.0, help="part of a full run, 0 to 1")
    options = parser.parse_args()
    figures = measure(options.runs, options.share)
    how = (
        f"{options.runs} runs of every system in turn, medians; {os.cpu_count()} cores, "
        f"Python {platform.python_version()}"
    )
    publish("ipc", how, figures)


if __name__ == "__main__":
    main()
