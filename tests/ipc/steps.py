"""End a call of ipc's code at a chosen step: a step is a bytecode instruction."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import ipc
from ipc.ring import layout

_ROOM = str(Path(ipc.__file__).parent)


class Ended(BaseException):
    """The chosen step was reached."""


def run_until(step: int, target: Callable[[], Any], *, at_step: Callable[[], None]) -> int:
    """Run `target`, call `at_step` before step number `step`, and return the number of steps.

    Only instructions of ipc's own files count, so every store to shared memory has a step
    before it and one after it.
    """
    taken = 0

    def trace(frame: FrameType, event: str, _argument: Any) -> Any:
        nonlocal taken
        if not frame.f_code.co_filename.startswith(_ROOM):
            return None
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        if event == "opcode":
            taken += 1
            if taken == step:
                at_step()
        return trace

    sys.settrace(trace)
    try:
        target()
    finally:
        sys.settrace(None)
    return taken


def end() -> None:
    """End the target at its step, in this process; its stores so far remain.

    The lock that it shares with a new Sender or Receiver is released, as it would be by the death
    of a process.
    """
    sys.settrace(None)
    if layout._fence_lock.locked():
        layout._fence_lock.release()
    raise Ended


def kill() -> None:
    """Kill the process at its step."""
    os.kill(os.getpid(), signal.SIGKILL)
