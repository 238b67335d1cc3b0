"""Health of a running process: the watchdog, and the limits of memory and descriptors."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Final

import psutil

from ipc import Channel
from supervisor.host.suspension import suspension
from supervisor.unit.process import ModuleProcess
from supervisor.unit.restart_policy import Supervision

#: Checks within the time that a fault has to last.
_CHECKS: Final = 4


@dataclass(frozen=True)
class Ailment:
    """Why a process is replaced: it hangs and is killed, or exceeds a limit and is stopped."""

    reason: str
    hung: bool


class Health:
    """The watch over one ready process, from outside: the process itself is not involved."""

    def __init__(self, process: ModuleProcess, inbox: Channel, rules: Supervision) -> None:
        self._process = process
        self._inbox = inbox
        self._rules = rules
        self._progress = (-1, time.monotonic())

    async def ailment(self) -> Ailment:
        """Wait until the process hangs or exceeds a limit."""
        checks = [asyncio.create_task(self._hung()), asyncio.create_task(self._over_limit())]
        try:
            done, _ = await asyncio.wait(checks, return_when=asyncio.FIRST_COMPLETED)
            return next(iter(done)).result()
        finally:
            for check in checks:
                check.cancel()

    async def _hung(self) -> Ailment:
        limit = self._rules.watchdog
        while limit:
            planned = time.monotonic() + limit / _CHECKS
            await asyncio.sleep(limit / _CHECKS)
            now = time.monotonic()
            if now - planned > limit / _CHECKS:
                continue  # the supervisor itself did not run: the module may not have run either
            silent = now - self._sign_of_life(now)
            if silent > limit:
                reason = f"hung: no sign of life for {silent:.1f} s"
                if self._process.suspended:
                    reason += f": {suspension(self._process.pid)}"
                return Ailment(reason, hung=True)
        return await _never()

    def _sign_of_life(self, now: float) -> float:
        """Return the time of the last sign of life: the event loop's beat, or a message handled.

        A blocking module that has no message to handle, or that does not receive at all, counts as
        alive. During cleanup only `context.alive()` and the beginning of the cleanup count.
        """
        if not self._process.beats and not self._process.shared_state.cleaning:
            statistics = self._inbox.statistics()
            handled, at = self._progress
            reads = self._inbox.reader_pid == self._process.pid
            if not reads or not statistics.messages or statistics.received_total != handled:
                at = now
            self._progress = (statistics.received_total, at)
            return max(at, self._process.shared_state.alive_at)
        return max(self._process.shared_state.alive_at, self._process.started)

    async def _over_limit(self) -> Ailment:
        rules = self._rules
        over_since: float | None = None
        while rules.max_rss or rules.max_fds:
            await asyncio.sleep(max(rules.limit_grace / _CHECKS, 0.05))
            reason = self._excess()
            now = time.monotonic()
            over_since = (over_since or now) if reason else None
            if over_since is not None and now - over_since >= rules.limit_grace:
                return Ailment(f"{reason} for {now - over_since:.1f} s", hung=False)
        return await _never()

    def _excess(self) -> str:
        rules = self._rules
        try:
            rss = self._process.usage_of.memory_info().rss if rules.max_rss else 0
            fds = self._process.usage_of.num_fds() if rules.max_fds else 0
        except (psutil.Error, OSError):  # it has just exited, or there is no descriptor to look
            return ""
        if rss > rules.max_rss > 0:
            return f"resident memory {rss:,} bytes, over max_rss = {rules.max_rss:,}"
        if fds > rules.max_fds > 0:
            return f"{fds} descriptors, over max_fds = {rules.max_fds}"
        return ""


async def _never() -> Ailment:
    await asyncio.get_running_loop().create_future()
    raise AssertionError("nobody resolves it")
