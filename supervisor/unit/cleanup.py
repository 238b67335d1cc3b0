"""The cleanup of a module in a fresh process, after the module's own process could not run it."""

from __future__ import annotations

import logging
from collections.abc import Callable

from ipc.files import in_words
from supervisor.telemetry.crash_reports import how_ended
from supervisor.unit.process import ModuleProcess

log = logging.getLogger(__name__)


async def run(name: str, start: Callable[[], ModuleProcess], timeout: float) -> str:
    """Start a process that runs `cleanup`, and wait for it; kill it after `timeout` seconds.

    Returns what went wrong, which is logged as well: `name` is the unit's; empty if nothing did.
    `start` raises OSError if there can be no process.
    """
    try:
        process = start()
    except OSError as error:
        log.error("module %s: cannot start a process for its cleanup: %s", name, error)
        return f"there was no process for its cleanup: {in_words(error)}"
    failure = ""
    code = await process.wait(timeout)
    if code is None:
        log.error("module %s: the cleanup took more than %g s: killing it", name, timeout)
        process.kill()
        await process.wait()
        failure = f"its cleanup was killed after {timeout:.3g} s"
    elif not process.shared_state.cleaned:
        words = process.shared_state.last_words()
        reason = words.reason if words else how_ended(code)
        log.error("module %s: the cleanup failed: %s", name, reason)
        failure = f"its cleanup failed: {reason}"
    process.shared_state.close()
    return failure
