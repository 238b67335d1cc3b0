"""Lists in pages: `limit` and `continue`.

All pages show the state at the time of the first page, like etcd's snapshots in Kubernetes: the
rest of a list is kept, as references, until it is requested or expires.
"""

from __future__ import annotations

import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import NamedTuple

from modules.apiserver.meta.objects import Entry
from modules.apiserver.meta.status import bad_request, expired

MOST_LISTS = 64
LIFETIME = 300.0  # seconds; etcd's compaction interval


class Page(NamedTuple):
    entries: list[Entry]
    revision: int
    token: str
    remaining: int


class _Rest(NamedTuple):
    entries: list[Entry]
    revision: int
    until: float
    asked: Hashable


class Pages:
    """The rest of each list that is being read in pages, by continue token."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._rests: OrderedDict[str, _Rest] = OrderedDict()

    def first(self, entries: list[Entry], revision: int, limit: int, asked: Hashable) -> Page:
        """Return the first page; `limit` 0 is no limit.

        `asked` holds resource, namespace and selector of the request. A token is valid only for a
        request with the same values.
        """
        return self._page(entries, revision, limit, asked)

    def next(self, token: str, limit: int, asked: Hashable) -> Page:
        """Return the page after the one that had `token`.

        Raises ApiError: 410 for an unknown or expired token, 400 for the token of another list.
        """
        rest = self._rests.get(token)
        if rest is None or rest.until < self._clock():
            raise expired(
                "The provided continue parameter is too old to display a consistent list result. "
                "You must start a new list without the continue parameter."
            )
        if rest.asked != asked:
            raise bad_request(
                "continue key is not valid: it belongs to a list of another resource, namespace "
                "or selector"
            )
        return self._page(rest.entries, rest.revision, limit, asked)

    def _page(self, entries: list[Entry], revision: int, limit: int, asked: Hashable) -> Page:
        if not limit or len(entries) <= limit:
            return Page(entries, revision, "", 0)
        token = secrets.token_urlsafe(12)
        self._rests[token] = _Rest(entries[limit:], revision, self._clock() + LIFETIME, asked)
        while len(self._rests) > MOST_LISTS:
            self._rests.popitem(last=False)
        return Page(entries[:limit], revision, token, len(entries) - limit)
