"""How checks are run: all at once, each in a thread of its own and with a deadline.

So one that hangs or raises delays and stops no other.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from supervisor.checks import Check, Finding, Findings


@dataclass
class _Run:
    """One check in its thread."""

    check: Check
    timeout: float
    found: list[Finding] = field(default_factory=list)
    failure: Finding | None = None
    thread: threading.Thread | None = None

    def start(self) -> None:
        # A daemon: the process exits while a thread still waits for a file system that hangs.
        self.thread = threading.Thread(target=self._run_check, daemon=True, name=self.check.title)
        self.thread.start()

    def result(self, deadline: float) -> list[Finding]:
        """Return the findings, at the latest at the deadline (monotonic clock)."""
        assert self.thread
        self.thread.join(max(0.0, deadline - time.monotonic()))
        late = _late(self.check, self.timeout) if self.thread.is_alive() else None
        ending = late or self.failure
        return [*self.found, *([ending] if ending else [])]

    def _run_check(self) -> None:
        try:
            found = self.check.look()
            if inspect.isawaitable(found):
                found = asyncio.run(_in_time(found, self.timeout))
            for finding in found:
                self.found.append(finding)
        except TimeoutError:
            self.failure = _late(self.check, self.timeout)
        except Exception as error:
            text = f"cannot check {self.check.title}: {type(error).__name__}: {error}"
            self.failure = Finding.unclear(text)


async def _in_time(found: Awaitable[Findings], timeout: float) -> Findings:
    async with asyncio.timeout(timeout):
        return await found


def _late(check: Check, timeout: float) -> Finding:
    return Finding.unclear(f"cannot check {check.title}: not finished within {timeout:g} s")


def perform(
    checks: Sequence[Check],
    timeout: float,
    waiting: Callable[[Check], AbstractContextManager[Any]] = nullcontext,
) -> Iterator[tuple[Check, list[Finding]]]:
    """Run all checks at once; yield each with its findings, in order, as soon as it is known.

    `timeout` is the deadline of each check in seconds; `waiting` is entered while one is awaited.
    """
    unique: dict[str, Check] = {}
    for check in checks:
        unique.setdefault(check.title, check)
    runs = [_Run(check, timeout) for check in unique.values()]
    deadline = time.monotonic() + timeout
    for run in runs:
        run.start()
    for run in runs:
        with waiting(run.check):
            found = run.result(deadline)
        yield run.check, found
