"""Forked processes for the tests of channels, none of which outlives its test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import multiprocess

Start = Callable[..., Any]


@contextmanager
def processes() -> Iterator[Start]:
    """Return what starts `target(*args)` in a process, which is killed at the end."""
    started = []

    def start(target: Callable[..., None], *args: Any, method: str = "fork") -> Any:
        process = multiprocess.get_context(method).Process(target=target, args=args, daemon=True)
        process.start()
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.join(10)
        assert process.exitcode is not None
        process.close()
