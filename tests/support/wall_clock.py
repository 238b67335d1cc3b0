"""A wall clock that can be set: for processes that are started with it, and for nobody else.

A library that is loaded before all others (LD_PRELOAD) adds an offset to what the kernel says. So
Python and OpenSSL see the same clock; the monotonic clock goes on.
"""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path
from typing import Final

COMPILER: Final = shutil.which("cc")

_SOURCE: Final = """
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile int64_t *offset;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("TEST_CLOCK_OFFSET");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0) return;
    void *found = mmap(0, sizeof *offset, PROT_READ, MAP_SHARED, file, 0);
    close(file);
    if (found != MAP_FAILED) offset = found;
}

int clock_gettime(clockid_t id, struct timespec *at) {
    int result = syscall(SYS_clock_gettime, id, at);
    if (!result && offset && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE))
        at->tv_sec += *offset;
    return result;
}

int gettimeofday(struct timeval *at, void *zone) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    at->tv_sec = now.tv_sec;
    at->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *at) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (at) *at = now.tv_sec;
    return now.tv_sec;
}
"""


class WallClock:
    """The clock; `environment` is what a process needs to have it."""

    def __init__(self, directory: Path) -> None:
        assert COMPILER
        source, library = directory / "clock.c", directory / "clock.so"
        source.write_text(_SOURCE)
        command = [COMPILER, "-shared", "-fPIC", "-O1", "-o", str(library), str(source)]
        subprocess.run(command, check=True, timeout=60)
        self._offset = directory / "offset"
        self._offset.write_bytes(struct.pack("q", 0))
        self.environment = {
            "LD_PRELOAD": str(library),
            "TEST_CLOCK_OFFSET": str(self._offset),
        }

    def set(self, seconds: int) -> None:
        """Have it `seconds` ahead of the true time from now on."""
        with self._offset.open("r+b") as file:  # the same file, which is mapped
            file.write(struct.pack("q", seconds))
