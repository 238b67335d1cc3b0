"""One module under supervision (systemd's word unit): its state, its processes, their restarts."""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn, Protocol

from ipc import ChannelState
from ipc.files import in_words
from supervisor.api import Module
from supervisor.host import sockets
from supervisor.host.run_records import RunRecords
from supervisor.telemetry.crash_reports import CrashReport
from supervisor.unit import cleanup, states
from supervisor.unit.bugs import no_silent_end
from supervisor.unit.child import run_cleanup, run_module
from supervisor.unit.exit_reason import EXIT_CANNOT_START
from supervisor.unit.health import Health
from supervisor.unit.launch import LaunchSpec
from supervisor.unit.process import ModuleProcess
from supervisor.unit.restart_policy import Cause, End, Restart, RestartPolicy, Verdict
from supervisor.unit.states import State
from supervisor.unit.unit_status import UnitStatus

log = logging.getLogger(__name__)

#: The state of a module's channel, by the state of the module; in all others it is open.
_CHANNEL_STATES: Final = {
    State.DISABLED: ChannelState.DISABLED,
    State.STOPPED: ChannelState.STOPPED,
    State.FAILED: ChannelState.FAILED,
}

_NOT_READY: Final = "did start() call context.ready()? Is start_timeout long enough?"


class Host(Protocol):
    """What a unit needs of the fleet."""

    run_records: RunRecords

    def launch_spec(self, unit: Unit) -> LaunchSpec:
        """Return the launch spec of a new process; raises OSError."""

    def changed(self, unit: Unit, old: State) -> None:
        """Take notice of a transition."""

    def give_up(self) -> None:
        """Shut everything down: there is a bug in the supervisor."""

    def died(
        self, unit: Unit, process: ModuleProcess, code: int, reason: str, output_since: int
    ) -> CrashReport:
        """Record a crash, and return its report."""


@dataclass(eq=False)
class Unit(UnitStatus):
    """A module, or one of its processes, under supervision: starts, restarts and stops it."""

    host: Host = field(kw_only=True)
    _condition: str = ""
    """the temporary failure for which it is not ready, shown until it is"""
    _kill_reason: str = ""
    disorder: str = ""
    """what went wrong when its process was last asked to stop; empty if it stopped in order"""
    _stop_signal: int | None = None
    _again: Restart | None = None
    _cleanup_timeout: float | None = None
    _stop_asked: asyncio.Event = field(default_factory=asyncio.Event)
    _prepared: asyncio.Event = field(default_factory=asyncio.Event)
    """set when the `prepare` of the last requested restart has run"""
    _task: asyncio.Task[None] | None = None

    def enable(self) -> None:
        self._to(State.STOPPED, "")

    def disable(self) -> None:
        """Refuse messages from now on; the unit has to be stopped."""
        self._to(State.DISABLED, "")

    def start(self, cause: Cause | None = None) -> None:
        """Start the module and keep it running until `stop`, or until it fails for good."""
        if cause:
            self.restarts[cause] += 1
        self.waits_for = None
        self.first_started = self.first_started or time.monotonic()
        self._living = True
        self._died = False
        self._cleanup_timeout = None
        self._stop_signal = None
        self._stop_asked.clear()
        self._task = asyncio.create_task(self._live(), name=f"unit {self.name}")
        self._task.add_done_callback(no_silent_end(self._unsupervised))

    async def stop(
        self, number: int, timeout: float, why: str = "", *, cleanup_timeout: float | None = None
    ) -> None:
        """Send the signal, wait until the process has exited, and kill it after `timeout` seconds.

        If the process cannot clean up, a fresh process does so within `cleanup_timeout` seconds,
        by default `stop_timeout`.
        """
        if self._task is None or not self._living:
            return
        self._again = None
        self._cleanup_timeout = cleanup_timeout
        self._ask_to_stop(number, why)
        await asyncio.wait([self._task], timeout=timeout)
        if not self._task.done():
            self.kill(f"did not stop within {timeout:.3g} s")
            await asyncio.wait([self._task])  # the cleanup has a deadline of its own

    async def restart(self, restart: Restart) -> None:
        """Replace the process; return when the old one has exited and `prepare` has run.

        The unit has to be living. Its channel stays open, so that senders do not notice.
        """
        assert self._task
        self._again = restart
        self._died = False
        self._prepared.clear()
        process, timeout = self.process, self.supervision.stop_timeout
        self._ask_to_stop(signal.SIGTERM, restart.why)
        if process and await process.wait(timeout) is None:
            self.kill(f"did not stop within {timeout:.3g} s")
            await process.wait()
        prepared = asyncio.ensure_future(self._prepared.wait())
        await asyncio.wait([self._task, prepared], return_when=asyncio.FIRST_COMPLETED)
        prepared.cancel()

    def forget_failure(self) -> None:
        """Go from failed to stopped; nothing happens in other states."""
        if self.state is State.FAILED:
            self._to(State.STOPPED, "")

    def forward(self, number: int) -> None:
        """Forward a further signal to a module that is stopping; nothing happens to others."""
        if self.process and self.state is State.STOPPING:
            self.process.send_signal(number)

    def kill(self, reason: str) -> None:
        """Kill the module's process; the cleanup runs in a fresh one."""
        if self.process and not self.process.exited.done():
            log.error("module %s %s: killing it", self.name, reason)
            self._kill_reason = reason
            self.process.kill()

    def _ask_to_stop(self, number: int, why: str) -> None:
        self.disorder = ""
        self._stop_signal = number
        self._stop_asked.set()
        if self.process and self.state in {State.STARTING, State.READY}:
            self._to(State.STOPPING, why or signal.Signals(number).name)
            self.process.send_signal(number)

    async def _live(self) -> None:
        policy = RestartPolicy(self.supervision)
        while True:
            end = await self._live_once()
            cause = end.cause
            if self._stop_signal is None:
                delay = self._delay(policy, end)
                if delay is None:
                    return
                await _happens(self._stop_asked, delay)
            while self._stop_signal is not None:
                again, self._again = self._again, None
                if again is None:
                    self._to(State.STOPPED, self.disorder)
                    return
                cause = again.cause
                await self._between(again)
                policy = RestartPolicy(self.supervision)
            self.restarts[cause] += 1

    async def _between(self, restart: Restart) -> None:
        """Run the `prepare` and the `gate` of a restart; another stop ends it early."""
        self._stop_signal = None
        self._stop_asked.clear()
        self._backoff = 0.0
        self.held = restart.cause is Cause.STRATEGY
        if self.state is not State.BACKOFF:
            self._to(State.BACKOFF, restart.why or f"restart: {restart.cause}")
        if restart.prepare:
            restart.prepare()
        self._prepared.set()
        if restart.gate:
            passing = asyncio.ensure_future(restart.gate())
            stop = asyncio.ensure_future(self._stop_asked.wait())
            await asyncio.wait([passing, stop], return_when=asyncio.FIRST_COMPLETED)
            stop.cancel()
            if not passing.cancel():
                passing.result()  # raises what ended it
        self.held = False

    async def _live_once(self) -> End:
        """Supervise one process from its launch to the end of its cleanup."""
        output_since = self.output.recent.end
        self._kill_reason = self.disorder = ""
        try:
            sockets.accept_again(self.sockets)
            process = self.process = self._new_process(run_module)
        except OSError as error:  # no memory, no descriptors, no process ids left
            return self._stillborn(error)
        self._to(State.STARTING, self._condition)
        verdict, ready_for = await self._run_to_exit(process)
        code = process.exited.result()
        failure = code != 0 or verdict.cause is not Cause.CRASH
        report: CrashReport | None = None
        if self._stop_signal is None or failure:
            reason = verdict.reason or self._kill_reason
            report = self.last_exit = self.host.died(self, process, code, reason, output_since)
        why = report.reason if report else ""
        if self._stop_signal is None and self.state is not State.STOPPING:
            self._to(State.CRASHED, why)
        uncleaned = "" if process.shared_state.cleaned else await self._clean_up_after(process)
        process.shared_state.close()
        self.process = None
        if self.state is State.STOPPING:
            ended = f"{'killed' if self._kill_reason else 'crashed'}: {why}" if why else ""
            self.disorder = "; ".join(filter(None, (ended, uncleaned)))
        return End(
            verdict.cause,
            verdict.reason,
            ready_for,
            failure=failure,
            for_good=why if code == EXIT_CANNOT_START else "",
            temporary=why if report and report.temporary else "",
        )

    async def _run_to_exit(self, process: ModuleProcess) -> tuple[Verdict, float]:
        """Wait until a process exits; return why, and for how many seconds it was ready."""
        verdict = await self._become_ready(process)
        ready_since = time.monotonic()
        if self.state is State.READY:
            verdict = await self._stay_ready(process)
        await process.wait()
        return verdict, time.monotonic() - ready_since if process.ready.is_set() else 0.0

    async def _clean_up_after(self, process: ModuleProcess) -> str:
        """Run the cleanup that a process has not finished; return what went wrong."""
        if process.shared_state.cleaning:
            log.error("module %s: the cleanup was interrupted", self.name)
            uncleaned = "its cleanup was interrupted"
        else:
            uncleaned = await self.clean_up()
        self.host.run_records.end(self.name)
        return uncleaned

    def _new_process(self, target: Callable[[LaunchSpec], NoReturn]) -> ModuleProcess:
        launch = self.host.launch_spec(self)
        try:
            return ModuleProcess(target, launch)
        except OSError:
            launch.shared_state.close()
            raise

    def _stillborn(self, error: OSError) -> End:
        reason = f"cannot start a process: {in_words(error)}"
        self._to(State.STARTING, "")
        if self._stop_signal is None:
            self._to(State.CRASHED, reason)
        return End(Cause.CRASH, reason, 0.0, failure=True, temporary=reason)

    async def _become_ready(self, process: ModuleProcess) -> Verdict:
        """Wait for readiness; a process that takes too long is killed."""
        ready: asyncio.Future[Any] = asyncio.create_task(process.ready.wait())
        timeout = self.supervision.start_timeout
        await asyncio.wait(
            [ready, process.exited], timeout=timeout, return_when=asyncio.FIRST_COMPLETED
        )
        ready.cancel()
        if self.state is State.STARTING:
            if process.ready.is_set():
                self._condition, self.repeats = "", False
                self._to(State.READY, "")
            elif not process.exited.done():
                await process.abort()
                why = f"did not become ready within {timeout:g} s: {_NOT_READY}"
                return Verdict(Cause.START_TIMEOUT, why)
        return Verdict(Cause.CRASH)

    async def _stay_ready(self, process: ModuleProcess) -> Verdict:
        """Watch a ready process until it exits, on its own or because of an ailment."""
        health = Health(process, self.mailbox.inbox, self.supervision)
        ailing = asyncio.create_task(health.ailment())
        await asyncio.wait([ailing, process.exited], return_when=asyncio.FIRST_COMPLETED)
        if not ailing.done() or self.state is not State.READY:
            ailing.cancel()
            return Verdict(Cause.CRASH)
        ailment = ailing.result()
        log.error("module %s: %s", self.name, ailment.reason)
        if ailment.hung:
            await process.abort()
            return Verdict(Cause.HUNG, ailment.reason)
        self._to(State.STOPPING, ailment.reason)
        process.send_signal(signal.SIGTERM)
        if await process.wait(self.supervision.stop_timeout) is None:
            self.kill("did not stop in time")
        return Verdict(Cause.LIMIT, ailment.reason)

    async def clean_up(self) -> str:
        """Run `cleanup` in a fresh process, with a deadline; return what went wrong."""
        if type(self.module).cleanup is Module.cleanup:
            return ""
        timeout = self._cleanup_timeout or self.supervision.stop_timeout
        return await cleanup.run(self.name, lambda: self._new_process(run_cleanup), timeout)

    def _delay(self, policy: RestartPolicy, end: End) -> float | None:
        """Return the seconds until the restart; None, in a final state, if there is none."""
        if end.for_good:
            self._to(State.FAILED, end.for_good)
            return None
        if not policy.wanted(failure=end.failure):
            restart = f'restart = "{self.supervision.restart}"'
            self._to(State.FAILED if end.failure else State.STOPPED, restart)
            return None
        self.repeats = bool(end.temporary) and end.temporary == self._condition
        self._condition = end.temporary
        delay = policy.delay(time.monotonic(), end.ready_for, temporary=bool(end.temporary))
        if delay is None:
            rules = self.supervision
            self._to(State.FAILED, f"more than {rules.max_restarts} restarts in {rules.period:g} s")
            return None
        because = end.reason if end.cause is Cause.LIMIT else end.temporary
        why = f", because of {because}" if because else ""
        self._backoff = delay
        self._to(State.BACKOFF, f"restart in {delay:.1f} s{why}")
        return delay

    def _unsupervised(self) -> None:
        self._living = False  # its task has ended: a shutdown must not wait for it
        self.kill("is no longer supervised")
        self.host.give_up()

    def _to(self, state: State, reason: str) -> None:
        states.check(self.name, self.state, state)
        old, self.state = self.state, state
        self._reason, self.since, self.full_since = reason, time.time(), None
        self.transitions[state] += 1
        if state in {State.CRASHED, State.READY}:
            self._died = state is State.CRASHED
        channel_state = _CHANNEL_STATES.get(state, ChannelState.OPEN)
        self.mailbox.inbox.state = self.mailbox.answers.state = channel_state
        if state in {State.STOPPED, State.FAILED, State.DISABLED}:
            self._living = False
        self.host.changed(self, old)


async def _happens(event: asyncio.Event, within: float) -> bool:
    """Wait up to `within` seconds for an event; return whether it was set."""
    try:
        async with asyncio.timeout(within):
            await event.wait()
    except TimeoutError:
        return False
    return True
