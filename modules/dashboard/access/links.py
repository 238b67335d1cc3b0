"""One-time links with which a browser logs in.

A link is a file in the run directory, which only the user of cloudcore can enter. Its name is the
hash of the link's code, so that the directory lets nobody in, and whoever deletes the file has used
the link: that happens once, whatever process is killed meanwhile. The file says when it was made,
by the time since the boot: a clock that is set makes no link good again.
"""

from __future__ import annotations

import hashlib
import secrets
from pathlib import Path
from typing import Final

from ipc.files import replace_file
from modules.dashboard.access.boot_clock import boot_id, since_boot

#: Seconds for which a link is good.
LIFETIME: Final = 600.0


def directory_of(run_dir: Path) -> Path:
    """Return the directory of what the dashboard keeps about logins."""
    return run_dir / "dashboard"


def digest(code: str) -> str:
    """Return what is stored of a secret: nobody can log in with it."""
    return hashlib.sha256(code.encode("utf-8", "replace")).hexdigest()


class LoginLinks:
    """The links of one run directory, for several processes at a time."""

    def __init__(self, run_dir: Path) -> None:
        self._directory = directory_of(run_dir) / "links"

    def create(self) -> str:
        """Make a link, and return its code; raises OSError."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._drop_old()
        code = secrets.token_urlsafe(32)
        made = f"{boot_id()} {since_boot()}"
        replace_file(self._directory / digest(code), made.encode(), sync=False)
        return code

    def use(self, code: str) -> bool:
        """Use a link up; return whether it was good."""
        path = self._directory / digest(code)
        try:
            made = path.read_bytes()
            path.unlink()
        except FileNotFoundError:
            return False
        return not _is_old(made)

    def _drop_old(self) -> None:
        for path in self._directory.iterdir():
            try:
                if _is_old(path.read_bytes()):
                    path.unlink()
            except FileNotFoundError:
                continue


def _is_old(made: bytes) -> bool:
    """Whether a link is good no more; nor is one that was made before a boot."""
    boot, _, at = made.decode("ascii", "replace").partition(" ")
    try:
        return boot != boot_id() or not 0 <= since_boot() - float(at) < LIFETIME
    except ValueError:  # of an earlier cloudcore, or damaged
        return True
