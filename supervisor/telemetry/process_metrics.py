"""Where the values of each process's metrics are kept: in files that the supervisor can read.

A module defines its metrics with prometheus_client. In its process each value is a word of a file
that is mapped into memory (prometheus_client's multiprocess mode): the supervisor reads the files
without the module's help, also when it hangs or is dead. The files are named for the module and
not for its process, so counters go on after a crash.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from prometheus_client import values

from ipc.files import replace_file


class _Owner:
    """Whose the values of this process are; a new one makes prometheus_client open its files."""

    def __init__(self, name: str) -> None:
        self.name = name.replace("_", "-")  # prometheus_client takes the file's name apart at these
        self.files: set[str] = set()
        """what was seen of its files"""

    def __str__(self) -> str:
        return self.name


_owner = _Owner("supervisor")


@contextlib.contextmanager
def kept_in(directory: Path) -> Iterator[None]:
    """Keep the values of all metrics in files while running, without those of an earlier run.

    Metrics that are preloaded begin as the supervisor's; prometheus_client notices by the owner
    that there was a fork, and goes on in files of the new process's.
    """
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(mode=0o700)
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(directory)
    values.ValueClass = values.MultiProcessValue(lambda: _owner)  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def belong_to(module: str) -> None:
    """Let this process's metrics be the module's from now on."""
    global _owner  # noqa: PLW0603 - a process has one
    _owner = _Owner(module)


def restore() -> None:
    """Write this process's values again if their files were removed or moved; raises OSError.

    They are still in the memory of this process, which is mapped to the old files. Nothing
    happens until the supervisor has made the directory again.
    """
    directory = Path(os.environ["PROMETHEUS_MULTIPROC_DIR"])
    if not directory.exists():
        return
    present = {file.name for file in directory.glob(f"*_{_owner}.db")}
    if lost := _owner.files - present:
        for descriptor in Path("/proc/self/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # the listing's own descriptor
                name = descriptor.readlink().name.removesuffix(" (deleted)")
                if name in lost:
                    replace_file(directory / name, descriptor.read_bytes(), sync=False)
        belong_to(_owner.name)
    _owner.files |= present | lost


def forget_gauges(module: str, directory: Path) -> None:
    """Drop what a process that has ended said of its present."""
    for file in directory.glob(f"gauge_*_{_Owner(module)}.db"):
        file.unlink(missing_ok=True)
