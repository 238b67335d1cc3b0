"""Revisions of the store: none is used twice, even if the file is restored from a backup.

A restored file continues from an older state. If it continued to count from there, it would reuse
revisions for different states, and clients that compare resourceVersions would not notice the
change. etcd's answer is `etcdutl snapshot restore --bump-revision --mark-compacted`, which an
administrator has to remember; here every start leaves a gap:

- The first revision is the wall clock in microseconds, if that is more than the last one in the
  file. A process that makes fewer than a million changes a second stays behind the clock, so after
  a restore the next start is ahead of every revision used before. The numbers stay below 2**53
  (exact as doubles, too) for the next two centuries.
- The first revision is above the high-water mark: an upper bound of the used revisions, raised in
  steps of RESERVED. It is kept in the lock file, which stays when the database is replaced. So a
  clock that was set back, or reset on a machine without a battery, does no harm either.

A revision can be used twice only if the clock is set back and both files are restored.
"""

from __future__ import annotations

import logging
import os
import time
from typing import Final

log = logging.getLogger(__name__)

RESERVED: Final = 2**20
_DIGITS: Final = 20


def wall_clock() -> int:
    """Return microseconds since 1970."""
    return time.time_ns() // 1000


class Mark:
    """The high-water mark in the lock file: revisions up to it may have been used."""

    def __init__(self, file: int) -> None:
        """Read the mark from the open descriptor `file`; an empty file counts as 0."""
        self._file = file
        text = os.pread(file, _DIGITS + 1, 0).strip()
        if text and not text.isdigit():
            log.warning(
                "the high-water mark of revisions is damaged: %r; starting from the clock", text
            )
        self._limit = int(text) if text.isdigit() else 0

    def first(self, last: int, clock: int) -> int:
        """Return the first revision after a start; `last` is the last one in the database."""
        return max(last, self._limit, clock) + 1

    def reserve(self, revision: int) -> None:
        """Raise the mark to at least `revision`; raises OSError if it cannot be written."""
        if revision > self._limit:
            limit = revision + RESERVED
            # Always the same bytes: to overwrite them needs no space on most file systems.
            os.pwrite(self._file, b"%0*d\n" % (_DIGITS, limit), 0)
            self._limit = limit
