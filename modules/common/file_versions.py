"""Whether files have been replaced or written, by what the file system says of them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

#: A file's inode, time of modification in nanoseconds, and size; None if there is no such file.
FileVersion = tuple[int, int, int] | None


def file_versions(paths: Iterable[Path]) -> tuple[FileVersion, ...]:
    """Return a value that changes when one of the files is replaced or written."""
    return tuple(map(_file_version, paths))


def _file_version(path: Path) -> FileVersion:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
