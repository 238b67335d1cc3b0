"""The token of the admin interface, which lets its holder log in and use the API."""

from __future__ import annotations

import hmac
import logging
from pathlib import Path

log = logging.getLogger(__name__)


class AdminToken:
    """The token in the file of `[admin] token_file`, read anew each time: it can be replaced."""

    def __init__(self, file: str) -> None:
        self._file = file

    def matches(self, shown: str) -> bool:
        """Whether this is the token; never if there is none."""
        token = self._read()
        given = shown.strip().encode("utf-8", "replace")
        return bool(token) and hmac.compare_digest(given, token.encode())

    def _read(self) -> str:
        if not self._file:
            return ""
        try:
            return Path(self._file).read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            log.warning("cannot read the token file %s: %s", self._file, error)
            return ""
