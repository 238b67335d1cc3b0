"""What the host has to give: directories, open files, disk space, a clock that is right."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from supervisor.checks import Check, Finding
from supervisor.host import clock, open_files
from supervisor.host.paths import PathError, Paths, check_owner, check_socket_length

#: Free space below which a disk counts as nearly full: databases, crash reports and dead letters
#: of a few hours.
_LEAST_SPACE: Final = 256 * 1024 * 1024


def checks(paths: Paths, processes: int) -> list[Check]:
    """Return the checks; `processes` is the number of modules and their further processes."""

    def directories() -> Iterator[Finding]:
        yield from _directory(paths.run_dir, "the run directory", "--run-dir")
        yield from _directory(paths.data_dir, "the data directory", "--data-dir")
        try:
            check_socket_length(paths.admin_socket)
        except PathError as error:
            yield Finding.wrong(str(error))

    def files() -> Iterator[Finding]:
        limit, needed = open_files.hard_limit(), open_files.needed(processes)
        if limit is not None and limit < needed:
            text = f"the limit of open files is {limit}, and cloudcore needs about {needed}"
            more = f"{text}; raise it (LimitNOFILE of systemd)"
            yield Finding.wrong(more, f"ulimit -Hn {needed}")
        else:
            yield Finding.ok(f"open files: {limit or 'no limit'}, and cloudcore needs {needed}")

    return [
        Check("the directories", directories),
        Check("the limit of open files", files),
        Check("the clock", _clock),
    ]


def _clock() -> Iterator[Finding]:
    synchronized = clock.is_synchronized()
    if synchronized:
        yield Finding.ok("the kernel's clock is synchronized")
    elif synchronized is None:
        yield Finding.note("the kernel does not say whether its clock is synchronized")
    else:
        text = "the kernel's clock is not synchronized: certificates and tokens are good by time"
        yield Finding.note(text, "timedatectl set-ntp true")


def _directory(directory: Path, what: str, option: str) -> Iterator[Finding]:
    if not directory.exists():
        parent = next(each for each in directory.parents if each.exists())
        if os.access(parent, os.W_OK):
            yield Finding.ok(f"{what} {directory} will be made")
        else:
            yield Finding.wrong(
                f"cannot create {what} {directory}: this user may not write to {parent}; choose "
                f"another one with {option}, or run as another user"
            )
        return
    try:
        check_owner(directory, option)
    except PathError as error:
        yield Finding.wrong(str(error))
        return
    free = _free_space(directory)
    if free < _LEAST_SPACE:
        text = f"{what} {directory} has {free // 1024**2} MiB of free space; free some"
        yield Finding.wrong(text, f"df -h {directory}")
    else:
        yield Finding.ok(f"{what} {directory} can be used")


def _free_space(directory: Path) -> int:
    found = os.statvfs(directory)
    return found.f_bavail * found.f_frsize
