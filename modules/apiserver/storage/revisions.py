"""Which revisions a store gives out: never one that an earlier life of it may have given out.

A file that is put back from a copy continues from an older state. If it only counted on, it would
give the numbers of its lost life to other states, and clients that compare resourceVersions would
take these for what they have. etcd's answer is `etcdutl snapshot restore --bump-revision
--mark-compacted`, which an administrator has to think of; here every start leaves a gap:

- It begins at the wall clock in microseconds, if that is more than the last number in the file. A
  life that makes fewer than a million changes a second stays behind the clock, so whatever copy
  is put back, its next start is ahead of every number given out before. The numbers stay decimal,
  ordered, and below 2**53 (exact as doubles, too) for the next two centuries.
- It begins above the mark: the limit below which numbers may have been given out, raised in steps
  of RESERVED. It is kept in the lock's file, which stays when the database is replaced. So a clock
  that was set back, or that a machine without a battery begins anew, does no harm either.

Only if the clock is set back and both files are put back can a number come twice.
"""

from __future__ import annotations

import logging
import os
import time
from typing import Final

logger = logging.getLogger(__name__)

RESERVED: Final = 2**20
_DIGITS: Final = 20


def wall_clock() -> int:
    """Return microseconds since 1970."""
    return time.time_ns() // 1000


class Mark:
    """A number in a file: revisions up to it may have been given out."""

    def __init__(self, file: int) -> None:
        """`file` is an open descriptor; one without a number in it counts as 0."""
        self._file = file
        text = os.pread(file, _DIGITS + 1, 0).strip()
        if text and not text.isdigit():
            logger.warning("the mark of revisions is damaged (%r): beginning at the clock", text)
        self._limit = int(text) if text.isdigit() else 0

    def first(self, last: int, clock: int) -> int:
        """Return the first revision of a new life; `last` is the last one in the database."""
        return max(last, self._limit, clock) + 1

    def reserve(self, revision: int) -> None:
        """Raise the mark to at least `revision`; OSError if it cannot be written."""
        if revision > self._limit:
            limit = revision + RESERVED
            # Always the same bytes of the file: writing them again needs no space on most disks.
            os.pwrite(self._file, b"%0*d\n" % (_DIGITS, limit), 0)
            self._limit = limit
