"""The code of a module's own process, from the fork to its exit."""

from __future__ import annotations

import asyncio
import faulthandler
import gc
import inspect
import io
import logging
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn

from supervisor.telemetry import process_metrics
from supervisor.unit.context import SupervisedBlockingContext, SupervisedContext
from supervisor.unit.exit_reason import EXIT_FAULT, last_words
from supervisor.unit.launch import LaunchSpec
from supervisor.unit.shared_state import LastWords

log = logging.getLogger(__name__)

STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)

#: Signals that mean something else in the supervisor than in a module.
_NOT_INHERITED: Final = (signal.SIGCHLD, signal.SIGILL, signal.SIGTRAP, signal.SIGABRT)

_orphaned = threading.Event()  # the supervisor is gone

_STAY: Final = "let it iterate over the context, or wait for context.stopped()"


def run_module(launch: LaunchSpec) -> NoReturn:
    """Run `start` and then `cleanup`, and exit with the status of the first that failed."""
    _isolate(launch)
    failure = _guarded(launch, _run_start)
    cleanup_failure = _guarded(launch, _cleanup)
    _end(launch, failure or cleanup_failure)


def run_cleanup(launch: LaunchSpec) -> NoReturn:
    """Run `cleanup` alone, because the module's own process could not."""
    _isolate(launch)
    _end(launch, _guarded(launch, _cleanup))


def _isolate(launch: LaunchSpec) -> None:
    """Isolate this process from the supervisor: group, descriptors, signals, logs."""
    os.setpgid(0, 0)
    signal.set_wakeup_fd(-1)
    console = _redirect(launch.output)
    for number in _NOT_INHERITED:
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    _detach_descriptors({*launch.keep, console})
    gc.freeze()
    gc.enable()  # the supervisor does without while it starts
    faulthandler.enable()
    launch.set_up_logs(launch.name)
    process_metrics.belong_to(launch.name)
    threading.Thread(
        target=_watch_lifeline, args=(launch, console), name="lifeline", daemon=True
    ).start()


def _redirect(output: int) -> int:
    """Redirect stdout and stderr to the supervisor; return a duplicate of the original stderr."""
    console = os.dup(2)
    os.dup2(output, 1)
    os.dup2(output, 2)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(line_buffering=True)
    return console


def _detach_descriptors(keep: Iterable[int]) -> None:
    """Detach the descriptors that were inherited from the supervisor.

    They are replaced by /dev/null, not closed: objects from before the fork would close the same
    numbers again later, when they may belong to other files. One whose number is above the limit
    of open files (setrlimit(2)) cannot be replaced and is closed: its number is not reused.
    """
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for number in [int(path.name) for path in Path("/proc/self/fd").iterdir()]:
        if number > 2 and number not in keep and number != null:
            try:
                os.fstat(number)
            except OSError:  # the listing's own descriptor
                continue
            try:
                os.dup2(null, number, inheritable=False)
            except OSError:
                os.close(number)


def _watch_lifeline(launch: LaunchSpec, console: int) -> None:
    """Wait until the supervisor is gone; stop, and kill the process group after `stop_timeout`."""
    os.read(launch.lifeline, 1)
    _orphaned.set()
    os.dup2(console, 2)
    log.error("the supervisor is gone: stopping")
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(launch.stop_timeout)
    log.error("did not stop within %g s: killing the process group", launch.stop_timeout)
    if os.fork():
        signal.pause()  # until the child kills this process group
    os.setpgid(0, 0)
    os.killpg(os.getppid(), signal.SIGKILL)
    signal.alarm(math.ceil(launch.stop_timeout))
    _end(launch, None if launch.shared_state.cleaning else _guarded(launch, _cleanup))


def _guarded(launch: LaunchSpec, part: Callable[[LaunchSpec], None]) -> LastWords | None:
    """Run `start` or `cleanup`; return what it raised as last words."""
    try:
        part(launch)
    except BaseException as error:  # the process ends with it
        words = last_words(error, launch.module.settings)
        if words.exit_status == EXIT_FAULT:
            log.critical("the module exits because of an exception", exc_info=error)
        return words
    return None


def _run_start(launch: LaunchSpec) -> None:
    launch.run_records.begin(launch.name)
    _start(launch)


def _start(launch: LaunchSpec) -> None:
    if inspect.iscoroutinefunction(launch.module.start):
        asked = _start_async(launch)
    else:
        asked = _start_blocking(launch)
    if not asked:
        raise RuntimeError(f"start() returned before the module was asked to stop: {_STAY}")


def _start_async(launch: LaunchSpec) -> bool:
    import uvloop

    async def main() -> bool:
        context = SupervisedContext(
            launch.registry, launch.name, launch.shared_state, launch.sockets
        )
        loop = asyncio.get_running_loop()
        _beat(loop, launch)
        for number in _stop_signals():
            loop.add_signal_handler(number, context.stop)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        try:
            started = launch.module.start(context)
            assert started is not None
            await started
        finally:
            context.close()
        return context.stopping

    return uvloop.run(main())


def _beat(loop: asyncio.AbstractEventLoop, launch: LaunchSpec) -> None:
    """Give a sign of life now, and again every `beat` seconds of the event loop."""
    launch.shared_state.report_alive()
    _keep_metrics()
    loop.call_later(launch.beat, _beat, loop, launch)


def _keep_metrics() -> None:
    try:
        process_metrics.restore()
    except OSError as error:
        log.warning("cannot restore the files of the metrics, which were removed: %s", error)


def _start_blocking(launch: LaunchSpec) -> bool:
    context = SupervisedBlockingContext(
        launch.registry, launch.name, launch.shared_state, launch.sockets
    )

    def stop(_number: int, _frame: FrameType | None) -> None:
        context.stop()

    for number in _stop_signals():
        signal.signal(number, stop)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    launch.module.start(context)
    return context.stopping


def _stop_signals() -> list[signal.Signals]:
    """Return the signals that stop a module; one that was ignored before (nohup) stays ignored."""
    return [number for number in STOP_SIGNALS if signal.getsignal(number) != signal.SIG_IGN]


def _cleanup(launch: LaunchSpec) -> None:
    for number in _stop_signals():
        signal.signal(number, signal.SIG_IGN)  # a cleanup must not be interrupted
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    launch.shared_state.report_cleaning()
    launch.module.cleanup()
    launch.shared_state.report_cleaned()
    launch.run_records.end(launch.name)


def _end(launch: LaunchSpec, words: LastWords | None) -> NoReturn:
    try:
        if words is not None:
            launch.shared_state.report_last_words(words)
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        if _orphaned.is_set():
            os.killpg(0, signal.SIGKILL)  # the processes that the module started do not outlive it
        os._exit(words.exit_status if words else 0)
