"""The metrics of each process: their values are in files that the supervisor can read.

A module defines its metrics with prometheus_client. In its process each value is a word of a file
that is mapped into memory (prometheus_client's multiprocess mode), so that the supervisor can read
it without the module's help, also when the module hangs or is dead. The files are named after the
module, not after its process, so that counters continue after a crash.
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
    """The owner of this process's values; a new one makes prometheus_client open other files."""

    def __init__(self, name: str) -> None:
        self.name = name.replace("_", "-")  # prometheus_client splits a file's name at underscores
        self.files: set[str] = set()
        """names of its files, as far as they were seen"""

    def __str__(self) -> str:
        return self.name


_owner = _Owner("supervisor")


@contextlib.contextmanager
def kept_in(directory: Path) -> Iterator[None]:
    """Keep the values of all metrics in files while entered; those of an earlier run are deleted.

    Metrics of preloaded modules begin as the supervisor's. After a fork prometheus_client notices
    the other owner, and continues in the files of the new process.
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
    """Make the module the owner of this process's metrics."""
    global _owner  # noqa: PLW0603 - a process has one
    _owner = _Owner(module)


def restore() -> None:
    """Write this process's values again if their files were removed or moved; raises OSError.

    The values are still in the memory of this process, which maps the old files. Nothing happens
    until the supervisor has restored the directory.
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
    """Delete the gauges of a process that has exited."""
    for file in directory.glob(f"gauge_*_{_Owner(module)}.db"):
        file.unlink(missing_ok=True)
