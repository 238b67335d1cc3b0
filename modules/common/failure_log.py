"""Logging of retried operations: the first failure and the success, not each attempt."""

from __future__ import annotations

import logging
from collections import OrderedDict
from typing import Final

#: Keys that are remembered; beyond that, the one that failed longest ago is forgotten.
_REMEMBERED: Final = 4096


class FailureLog:
    """The logged failures, by a key such as the name of the object that failed.

    A failure is logged if it is the first of its key or has another reason than the previous one;
    repetitions are logged at level debug.
    """

    def __init__(self, log: logging.Logger, level: int = logging.WARNING) -> None:
        self._log = log
        self._level = level
        self._failing: OrderedDict[str, str] = OrderedDict()

    def failed(self, key: str, reason: str, text: str) -> None:
        """Log `text` if this failure is new; `reason` must be the same text for each repetition."""
        known = self._failing.get(key) == reason
        self._failing[key] = reason
        self._failing.move_to_end(key)
        if len(self._failing) > _REMEMBERED:
            self._failing.popitem(last=False)
        self._log.log(logging.DEBUG if known else self._level, "%s", text)

    def worked(self, key: str, text: str = "") -> None:
        """Forget the failure of a key; log `text` if there was one."""
        if self._failing and self._failing.pop(key, None) is not None and text:
            self._log.info("%s", text)
