"""What happens in a module's own process, from the fork to its end."""

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
from supervisor.unit.context import (
    SupervisedBlockingContext,
    SupervisedContext,
)
from supervisor.unit.exit_reason import (
    EXIT_FAULT,
    last_words,
)
from supervisor.unit.launch import LaunchSpec
from supervisor.unit.shared_state import LastWords

log = logging.getLogger(__name__)

STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)

#: Signals that mean something else in the supervisor than in a module.
_NOT_INHERITED: Final = (signal.SIGCHLD, signal.SIGILL, signal.SIGTRAP, signal.SIGABRT)

_orphaned = threading.Event()  # the supervisor is gone

_STAY: Final = "let it iterate over the context, or wait for context.stopped()"


def run_module(birth: LaunchSpec) -> NoReturn:
    """Run `start` and then `cleanup`, and end the process with what came of it."""
    _settle(birth)
    failure = _guarded(birth, _begin)
    cleanup_failure = _guarded(birth, _cleanup)
    _end(birth, failure or cleanup_failure)


def run_cleanup(birth: LaunchSpec) -> NoReturn:
    """Run `cleanup` alone: the module's process could not."""
    _settle(birth)
    _end(birth, _guarded(birth, _cleanup))


def _settle(birth: LaunchSpec) -> None:
    """Become a process of one's own: group, descriptors, signals, logs."""
    os.setpgid(0, 0)
    signal.set_wakeup_fd(-1)
    console = _redirect(birth.output)
    for number in _NOT_INHERITED:
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    _let_go({*birth.keep, console})
    gc.freeze()
    faulthandler.enable()
    birth.set_up_logs(birth.name)
    process_metrics.belong_to(birth.name)
    threading.Thread(target=_follow, args=(birth, console), name="lifeline", daemon=True).start()


def _redirect(output: int) -> int:
    """Send stdout and stderr to the supervisor; what stderr was before is returned."""
    console = os.dup(2)
    os.dup2(output, 1)
    os.dup2(output, 2)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(line_buffering=True)
    return console


def _let_go(keep: Iterable[int]) -> None:
    """Let go of the supervisor's descriptors.

    They are replaced, not closed: objects from before the fork still count them as theirs and
    would close the numbers again, whatever they mean by then. One that was inherited with a
    number over the limit of open files (setrlimit(2)) cannot be replaced: no other gets it.
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


def _follow(birth: LaunchSpec, console: int) -> None:
    """Do not outlive the supervisor by more than the stop budget."""
    os.read(birth.lifeline, 1)
    _orphaned.set()
    os.dup2(console, 2)
    log.error("the supervisor is gone: stopping")
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(birth.stop_timeout)
    log.error("not stopped within %g s: killing what is left", birth.stop_timeout)
    if os.fork():
        signal.pause()  # for the end that the other one brings
    os.setpgid(0, 0)
    os.killpg(os.getppid(), signal.SIGKILL)
    signal.alarm(math.ceil(birth.stop_timeout))
    _end(birth, None if birth.page.cleaning else _guarded(birth, _cleanup))


def _guarded(birth: LaunchSpec, part: Callable[[LaunchSpec], None]) -> LastWords | None:
    """Run a part of the module's life; what it raised, in words."""
    try:
        part(birth)
    except BaseException as error:  # the process ends with it
        words = last_words(error, birth.module.settings)
        if words.exit_status == EXIT_FAULT:
            log.critical("the module ends with a fault", exc_info=error)
        return words
    return None


def _begin(birth: LaunchSpec) -> None:
    birth.lives.begin(birth.name)
    _start(birth)


def _start(birth: LaunchSpec) -> None:
    if inspect.iscoroutinefunction(birth.module.start):
        asked = _start_async(birth)
    else:
        asked = _start_blocking(birth)
    if not asked:
        raise RuntimeError(f"start() returned before the module was asked to stop: {_STAY}")


def _start_async(birth: LaunchSpec) -> bool:
    import uvloop

    async def main() -> bool:
        context = SupervisedContext(birth.registry, birth.name, birth.page, birth.sockets)
        loop = asyncio.get_running_loop()
        _beat(loop, birth)
        for number in _stop_signals():
            loop.add_signal_handler(number, context.stop)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        try:
            started = birth.module.start(context)
            assert started is not None
            await started
        finally:
            context.close()
        return context.stopping

    return uvloop.run(main())


def _beat(loop: asyncio.AbstractEventLoop, birth: LaunchSpec) -> None:
    """Let the event loop give signs of life, as long as it turns."""
    birth.page.say_alive()
    _keep_metrics()
    loop.call_later(birth.beat, _beat, loop, birth)


def _keep_metrics() -> None:
    try:
        process_metrics.restore()
    except OSError as error:
        log.warning("metrics were removed, and cannot be written again: %s", error)


def _start_blocking(birth: LaunchSpec) -> bool:
    context = SupervisedBlockingContext(birth.registry, birth.name, birth.page, birth.sockets)

    def stop(_number: int, _frame: FrameType | None) -> None:
        context.stop()

    for number in _stop_signals():
        signal.signal(number, stop)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    birth.module.start(context)
    return context.stopping


def _stop_signals() -> list[signal.Signals]:
    """Name the signals that stop a module: one that was ignored at birth (nohup) stays so."""
    return [number for number in STOP_SIGNALS if signal.getsignal(number) != signal.SIG_IGN]


def _cleanup(birth: LaunchSpec) -> None:
    for number in _stop_signals():
        signal.signal(number, signal.SIG_IGN)  # a cleanup is not to be interrupted
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    birth.page.say_cleaning()
    birth.module.cleanup()
    birth.page.say_cleaned()
    birth.lives.end(birth.name)


def _end(birth: LaunchSpec, words: LastWords | None) -> NoReturn:
    try:
        if words is not None:
            birth.page.say_last_words(words)
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        if _orphaned.is_set():
            os.killpg(0, signal.SIGKILL)  # what it has started does not outlive it
        os._exit(words.exit_status if words else 0)
