"""Forked processes for the tests of channels, none of which outlives its test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import multiprocess
import pytest

Start = Callable[..., Any]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start `target(*args)` in a process, which is killed at the end of the test."""
    processes = []

    def begin(target: Callable[..., None], *args: Any, method: str = "fork") -> Any:
        process = multiprocess.get_context(method).Process(target=target, args=args, daemon=True)
        process.start()
        processes.append(process)
        return process

    yield begin
    for process in processes:
        process.kill()
        process.join(10)
        assert process.exitcode is not None
        process.close()
