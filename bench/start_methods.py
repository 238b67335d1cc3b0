"""The cost of a module's start under each start method of multiprocessing.

Run with `make bench-start`. The parent has the imports of the supervisor; a module blocks on its
channel. A restart is the time from the start of the process until it answers a message that waits
in its channel, as other modules see it.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from typing import Any

import multiprocess
import psutil

import supervisor.supervisor  # noqa: F401 - what is imported here is what a fork shares
from bench.figures import Figure, median, publish, say
from ipc import ChannelRegistry, Context, Message

METHODS = ("fork", "forkserver", "spawn")
MODULES = 4
KIB = 1024


def answer(registry: ChannelRegistry, name: str) -> None:
    context = Context(registry, name)
    for message in context:
        context.send_resp(message.response())


def ask(context: Context, name: str) -> None:
    context.send_sync(name, Message.build("parent", "", "query", "r"), 30)


def start(method: Any, registry: ChannelRegistry, name: str) -> Any:
    process = method.Process(target=answer, args=(registry, name), daemon=True)
    process.start()
    return process


def measure(name: str) -> tuple[float, float, float]:
    """Return a restart in milliseconds, and the KiB of one module, and of all with helpers."""
    method = multiprocess.get_context(name)
    registry = ChannelRegistry()
    registry.add_module("parent")
    modules = [f"module-{number}" for number in range(MODULES)]
    for module in modules:
        registry.add_module(module)
    context = Context(registry, "parent")
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    processes = [start(method, registry, module) for module in modules]
    for module in modules:
        ask(context, module)
    processes[0].kill()
    processes[0].join()
    begun = time.perf_counter()
    processes[0] = start(method, registry, modules[0])
    ask(context, modules[0])
    restart = time.perf_counter() - begun
    children = psutil.Process().children(recursive=True)
    memory = {child.pid: child.memory_full_info() for child in children}
    alone = median([memory[process.pid].uss for process in processes])
    helpers = {"forkserver", "resource"}
    counted = [
        child.pid
        for child in children
        if child.pid not in before or any(word in " ".join(child.cmdline()) for word in helpers)
    ]
    everything = sum(memory[pid].pss for pid in counted)
    for process in processes:
        process.kill()
        process.join()
    return restart * 1e3, alone / KIB, everything / KIB


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=9)
    options = parser.parse_args()
    measured: dict[str, list[tuple[float, float, float]]] = {name: [] for name in METHODS}
    for name, rows in measured.items():
        for number in range(options.runs):
            say(f"{name}: run {number + 1} of {options.runs}")
            rows.append(measure(name))
    figures = []
    for column, (case, metric, unit) in enumerate(
        [
            ("a killed module", "until it answers again", "ms"),
            ("a module", "memory of its own (USS)", "KiB"),
            (f"{MODULES} modules and their helpers", "memory (PSS)", "KiB"),
        ]
    ):
        for name, rows in measured.items():
            figures.append(Figure(case, name, metric, median([r[column] for r in rows], 1), unit))
    publish(
        "start_methods",
        f"{options.runs} runs each, medians; {os.cpu_count()} cores, "
        f"Python {platform.python_version()}",
        figures,
    )


if __name__ == "__main__":
    main()
