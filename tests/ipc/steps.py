"""Ending a piece of ipc's code at a chosen step: one step is one bytecode instruction."""

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
    """Run `target`, calling `at_step` before its step number `step`; how many steps it took.

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
    """End the target at its step, in this process: what it has stored so far stays.

    The one lock that a new Sender or Receiver would share with it is let go, as a process's
    death would.
    """
    sys.settrace(None)
    if layout._fence_lock.locked():
        layout._fence_lock.release()
    raise Ended


def kill() -> None:
    """End the process at its step as nothing can be prepared for."""
    os.kill(os.getpid(), signal.SIGKILL)
