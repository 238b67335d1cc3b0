"""The state that a module's process reports, in shared memory that the supervisor reads.

The supervisor reads it without the help of the process, which may hang or be dead; a report costs
the process one copy. Each process has a SharedState of its own.
"""

from __future__ import annotations

import mmap
import os
import time
from typing import Any, Final

import msgspec

from supervisor.telemetry.escaping import to_json, utf8

_SIZE: Final = 64 * 1024
# Indices of 8-byte words. There are three lengths: of the two copies of the details, and of the
# last words.
_READY, _CLEANED, _WHICH, _LENGTHS, _ALIVE, _CLEANING = 0, 1, 2, 3, 6, 7
_WORDS_END: Final = 64
_LAST_WORDS_AT: Final = _WORDS_END + 2 * _SIZE


class LastWords(msgspec.Struct, frozen=True):
    """Why a process exits, as it reports itself."""

    reason: str
    traceback: str = ""
    exit_status: int = 0
    """decides whether the supervisor tries again (exit_reason.py)"""


class SharedState:
    """The state of one process, made before the fork; `notice` is readable once it is ready."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, _LAST_WORDS_AT + _SIZE)
        self._view = memoryview(self._memory)
        self._words = self._view[:_WORDS_END].cast("Q")
        self.notice = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    # The module's side

    def report_ready(self) -> None:
        self._words[_READY] = 1
        os.eventfd_write(self.notice, 1)

    def report_alive(self) -> None:
        """Give a sign of life, for the watchdog."""
        self._words[_ALIVE] = time.monotonic_ns()

    def report_cleaning(self) -> None:
        """Report that `cleanup` has begun: it must not run a second time."""
        self.report_alive()
        self._words[_CLEANING] = 1

    def report_cleaned(self) -> None:
        """Report that `cleanup` has run to its end."""
        self._words[_CLEANED] = 1

    def report_details(self, details: dict[str, Any]) -> None:
        """Replace the details; the old ones stay readable until the new ones are complete."""
        data = to_json(details)
        if len(data) > _SIZE:
            raise ValueError(f"they have {len(data)} bytes, of {_SIZE} that are allowed")
        which = 1 - self._words[_WHICH]
        start = _WORDS_END + which * _SIZE
        self._memory[start : start + len(data)] = data
        self._words[_LENGTHS + which] = len(data)
        self._words[_WHICH] = which

    def report_last_words(self, words: LastWords) -> None:
        words = LastWords(utf8(words.reason), utf8(words.traceback), words.exit_status)
        data = msgspec.json.encode(words)
        if len(data) > _SIZE:
            kept = words.traceback[-_SIZE // 4 :]
            shorter = LastWords(words.reason[: _SIZE // 8], kept, words.exit_status)
            data = msgspec.json.encode(shorter)
        self._memory[_LAST_WORDS_AT : _LAST_WORDS_AT + len(data)] = data
        self._words[_LENGTHS + 2] = len(data)

    # The supervisor's side

    @property
    def ready(self) -> bool:
        return bool(self._words[_READY])

    @property
    def cleaning(self) -> bool:
        """Whether `cleanup` has begun."""
        return bool(self._words[_CLEANING])

    @property
    def cleaned(self) -> bool:
        return bool(self._words[_CLEANED])

    @property
    def alive_at(self) -> float:
        """When the last sign of life was given, on the monotonic clock; 0.0 before the first."""
        return self._words[_ALIVE] / 1e9

    def details(self) -> dict[str, Any]:
        which = self._words[_WHICH] & 1  # the module can write anything there
        start = _WORDS_END + which * _SIZE
        data = self._memory[start : start + self._words[_LENGTHS + which]]
        try:
            return msgspec.json.decode(data, type=dict[str, Any]) if data else {}
        except (msgspec.MsgspecError, UnicodeDecodeError):  # two reports overwrote it meanwhile
            return {}

    def last_words(self) -> LastWords | None:
        data = self._memory[_LAST_WORDS_AT : _LAST_WORDS_AT + self._words[_LENGTHS + 2]]
        try:
            return msgspec.json.decode(data, type=LastWords) if data else None
        except (msgspec.MsgspecError, UnicodeDecodeError):  # the module overwrote it
            return None

    def close(self) -> None:
        self._words.release()
        self._view.release()
        self._memory.close()
        os.close(self.notice)
