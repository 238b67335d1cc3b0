"""The sessions of browsers that have logged in.

They are kept in a file of the run directory, as hashes, so that a login survives a crash of the
dashboard, and nobody can log in with what the file has. They end by the time since the boot: a
clock that is set makes none longer or shorter, and no session outlives a boot.
"""

from __future__ import annotations

import hmac
import logging
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from ipc.files import replace_file
from modules.dashboard.access.boot_clock import boot_id, since_boot
from modules.dashboard.access.links import digest, directory_of

#: Sessions at most: the oldest one ends when another browser logs in.
_MOST: Final = 64

log = logging.getLogger(__name__)


class _File(msgspec.Struct):
    boot: str
    ends: dict[str, float]


class Sessions:
    """The sessions that have not ended: when each one does, by the hash of its cookie."""

    def __init__(self, run_dir: Path, hours: float, now: Callable[[], float] = since_boot) -> None:
        self._now = now
        self._path = directory_of(run_dir) / "sessions.json"
        self._seconds = hours * 3600
        self._ends = self._read()

    @property
    def seconds(self) -> float:
        """The lifetime of a session."""
        return self._seconds

    def begin(self) -> str:
        """Begin a session, and return the value of its cookie."""
        cookie = secrets.token_urlsafe(32)
        now = self._now()
        self._ends = {name: end for name, end in self._ends.items() if end > now}
        while len(self._ends) >= _MOST:
            del self._ends[next(iter(self._ends))]
        self._ends[digest(cookie)] = now + self._seconds
        self._write()
        return cookie

    def has(self, cookie: str) -> bool:
        """Whether a cookie is that of a session that has not ended."""
        return self._ends.get(digest(cookie), 0.0) > self._now()

    def end(self, cookie: str) -> None:
        """End a session, if there is one."""
        if self._ends.pop(digest(cookie), None) is not None:
            self._write()

    def _read(self) -> dict[str, float]:
        try:
            found = msgspec.json.decode(self._path.read_bytes(), type=_File)
        except FileNotFoundError:
            return {}
        except (OSError, msgspec.MsgspecError) as error:
            log.warning("cannot read %s: %s; everybody has to log in again", self._path, error)
            return {}
        return found.ends if found.boot == boot_id() else {}

    def _write(self) -> None:
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            replace_file(self._path, msgspec.json.encode(_File(boot_id(), self._ends)), sync=False)
        except OSError as error:
            log.warning("cannot write %s: %s; logins end with this process", self._path, error)


def csrf_token(cookie: str) -> str:
    """Return what a page of the session sends with each verb, and another site cannot know."""
    return hmac.digest(cookie.encode(), b"cloudcore dashboard csrf", "sha256").hex()


def is_csrf_token(shown: str, cookie: str) -> bool:
    return hmac.compare_digest(shown.encode("utf-8", "replace"), csrf_token(cookie).encode())
