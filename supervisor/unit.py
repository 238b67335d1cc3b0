"""One module under supervision: its state, its processes, and what happens when one ends."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ipc import ChannelState
from ipc.registry import Line
from supervisor import states
from supervisor.child import EXIT_CANNOT_START, Birth, run_cleanup, run_module
from supervisor.module import Module
from supervisor.page import LastWords, Page
from supervisor.policy import RestartPolicy, Supervision
from supervisor.process import ModuleProcess
from supervisor.states import State

log = logging.getLogger(__name__)

#: What others may send to a module in this state; elsewhere its channel is open.
_CHANNEL_STATES = {
    State.DISABLED: ChannelState.DISABLED,
    State.STOPPED: ChannelState.STOPPED,
    State.FAILED: ChannelState.FAILED,
}


@dataclass(frozen=True)
class Exit:
    """How a module's process ended; `at` is in seconds since the epoch."""

    at: float
    code: int | None
    signal: str | None
    reason: str
    traceback: str


@dataclass
class Unit:
    """A module and everything the supervisor knows of it.

    `give_birth` makes what a new process gets; `on_change` is told of every transition.
    """

    module: Module
    supervision: Supervision
    line: Line
    sockets: Mapping[str, socket.socket]
    give_birth: Callable[[Unit], Birth]
    on_change: Callable[[Unit, State, str], None]
    state: State = State.DISABLED
    restarts: int = 0
    last_exit: Exit | None = None
    process: ModuleProcess | None = None
    settled: asyncio.Event = field(default_factory=asyncio.Event)
    """it is ready, or will not be"""
    _stop_signal: int | None = None
    _stop_asked: asyncio.Event = field(default_factory=asyncio.Event)
    _task: asyncio.Task[None] | None = None

    @property
    def name(self) -> str:
        return self.module.name

    @property
    def page(self) -> Page | None:
        return self.process.page if self.process else None

    def enable(self) -> None:
        self._to(State.STOPPED, "enabled")

    def start(self) -> None:
        """Begin the module's life; it goes on by itself until `stop`, or until it has failed."""
        self._stop_signal = None
        self._stop_asked.clear()
        self._task = asyncio.create_task(self._live(), name=f"unit {self.name}")
        self._task.add_done_callback(_no_silent_end)

    async def stop(self, number: int, timeout: float) -> None:
        """Forward the signal, wait until the module has unwound, and kill it after `timeout`."""
        if self._task is None:
            return
        deadline = time.monotonic() + timeout
        self._stop_signal = number
        self._stop_asked.set()
        if self.process and self.state in {State.STARTING, State.READY}:
            self._to(State.STOPPING, signal.Signals(number).name)
            self.process.send_signal(number)
        await asyncio.wait([self._task], timeout=timeout)
        if not self._task.done() and self.process:
            log.error("module %s did not stop within %.0f s: killing it", self.name, timeout)
            self.process.kill()
            remaining = max(0.0, deadline - time.monotonic())
            await asyncio.wait([self._task], timeout=remaining + self.supervision.stop_timeout)

    async def _live(self) -> None:
        policy = RestartPolicy(self.supervision)
        while True:
            process = self.process = ModuleProcess(run_module, self.give_birth(self))
            self._to(State.STARTING, "")
            ready_for = await self._watch(process)
            if self._stop_signal is None:
                self._to(State.CRASHED, self.last_exit.reason if self.last_exit else "")
            if not process.page.cleaned:
                await self._clean_up()
            process.page.close()
            self.process = None
            if self._stop_signal is not None:
                self._to(State.STOPPED, "")
                return
            delay = self._delay(policy, ready_for)
            if delay is None:
                return
            if await _happens(self._stop_asked, delay):
                self._to(State.STOPPED, "asked to stop while it waited for its restart")
                return
            self.restarts += 1

    async def _watch(self, process: ModuleProcess) -> float:
        """Follow a process to its end; note how it ended, and return how long it was ready."""
        kill_reason = await self._become_ready(process)
        ready_since = time.monotonic()
        code = await process.wait()
        assert code is not None
        self.last_exit = _describe(code, process.page.last_words(), kill_reason)
        return time.monotonic() - ready_since if process.ready.is_set() else 0.0

    async def _become_ready(self, process: ModuleProcess) -> str:
        """Wait for readiness; a process that takes too long is killed, and the reason returned."""
        said: asyncio.Future[Any] = asyncio.create_task(process.ready.wait())
        timeout = self.supervision.start_timeout
        await asyncio.wait(
            [said, process.exited], timeout=timeout, return_when=asyncio.FIRST_COMPLETED
        )
        said.cancel()
        if process.ready.is_set():
            if self.state is State.STARTING:
                self._to(State.READY, "")
        elif not process.exited.done() and self.state is State.STARTING:
            process.kill()
            return f"not ready within {timeout:g} s"
        return ""

    async def _clean_up(self) -> None:
        """Run `cleanup` in a fresh process, with a deadline."""
        if type(self.module).cleanup is Module.cleanup:
            return
        birth = self.give_birth(self)
        process = ModuleProcess(run_cleanup, birth)
        if await process.wait(self.supervision.stop_timeout) is None:
            log.error("the cleanup of module %s took too long: killing it", self.name)
            process.kill()
            await process.wait()
        elif not birth.page.cleaned:
            words = birth.page.last_words()
            log.error("the cleanup of module %s failed: %s", self.name, words and words.reason)
        birth.page.close()

    def _delay(self, policy: RestartPolicy, ready_for: float) -> float | None:
        """Decide on a restart: the delay, or None after going where it ends."""
        ended = self.last_exit
        assert ended is not None
        if ended.code == EXIT_CANNOT_START:
            self._to(State.FAILED, ended.reason)
            return None
        if not policy.wanted(failure=ended.code != 0):
            self._to(State.STOPPED, "not to be restarted")
            return None
        delay = policy.delay(time.monotonic(), ready_for)
        if delay is None:
            rules = self.supervision
            self._to(State.FAILED, f"more than {rules.max_restarts} restarts in {rules.period:g} s")
            return None
        self._to(State.BACKOFF, f"restart in {delay:.1f} s")
        return delay

    def _to(self, state: State, reason: str) -> None:
        states.check(self.name, self.state, state)
        old, self.state = self.state, state
        channel_state = _CHANNEL_STATES.get(state, ChannelState.OPEN)
        self.line.inbox.state = self.line.answers.state = channel_state
        if state in {State.READY, State.FAILED} or (
            state is State.STOPPED and old is not State.DISABLED
        ):
            self.settled.set()
        elif state is not State.STOPPING:
            self.settled.clear()
        self.on_change(self, old, reason)

    def details(self) -> dict[str, Any]:
        """What the module reported, and where it listens."""
        listening = {name: address(sock) for name, sock in self.sockets.items()}
        reported = self.page.details() if self.page else {}
        return {**({"listen": listening} if listening else {}), **reported}


def address(sock: socket.socket) -> str:
    """Write a socket's own address as HOST:PORT."""
    host, port = sock.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _describe(code: int, words: LastWords | None, kill_reason: str) -> Exit:
    number = signal.Signals(-code).name if code < 0 else None
    if kill_reason:
        reason = kill_reason
    elif words:
        reason = words.reason
    elif number:
        reason = f"killed by {number}"
    else:
        reason = "" if code == 0 else f"exit status {code}"
    return Exit(
        at=time.time(),
        code=None if code < 0 else code,
        signal=number,
        reason=reason,
        traceback=words.traceback if words else "",
    )


async def _happens(event: asyncio.Event, within: float) -> bool:
    """Wait for an event up to so many seconds; whether it happened."""
    try:
        async with asyncio.timeout(within):
            await event.wait()
    except TimeoutError:
        return False
    return True


def _no_silent_end(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()):
        log.critical("a bug in the supervisor: %s ended", task.get_name(), exc_info=error)
        signal.raise_signal(signal.SIGTERM)
