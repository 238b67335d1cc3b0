"""Output of modules: nobody is stopped by it, whatever the terminal does."""

from __future__ import annotations

import asyncio
import errno
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from supervisor.telemetry.output import Console, Recent, last_lines
from tests.support.running import Running
from tests.support.waiting import block_until


def test_the_end_of_what_was_written_is_kept() -> None:
    recent = Recent()
    for number in range(100_000):
        recent.add(f"line {number}\n".encode())
    lines = last_lines(10**9, recent)
    assert lines[-1] == "line 99999"
    assert 20_000 < len(lines) < 40_000
    assert last_lines(2, recent) == ["line 99998", "line 99999"]
    assert last_lines(0, recent) == []
    mark = recent.end
    recent.add(b"new\n")
    assert last_lines(10, recent, since=mark) == ["new"]
    assert last_lines(10, recent)[-1] == "new"


def test_a_piece_that_is_larger_than_what_is_kept_is_kept_whole() -> None:
    recent = Recent()
    large = "x" * 300_000
    recent.add(b"before\n")
    recent.add(f"{large}\n".encode())
    assert last_lines(2, recent) == [large]
    recent.add(b"after\n")
    assert last_lines(3, recent) == [large, "after"]


def test_lines_of_several_come_in_their_order() -> None:
    one, other = Recent(), Recent()
    for number in range(4):
        (one if number % 2 else other).add(f"{number}\n".encode())
    assert last_lines(3, one, other) == ["1", "2", "3"]


async def test_what_a_slow_reader_does_not_take_waits_and_then_is_dropped_and_counted() -> None:
    reading, writing = os.pipe()
    console = Console(writing)
    line = b"x" * 999 + b"\n"
    for _ in range(3000):
        console.write(line)  # 64 KiB fit into the pipe, 1 MiB may wait
    got = b""
    os.set_blocking(reading, False)
    async with asyncio.timeout(20):
        while b"were dropped" not in got:
            try:
                got += os.read(reading, 1 << 20)
            except BlockingIOError:
                await asyncio.sleep(0)
    lines = got.splitlines()
    note = lines.pop()
    assert all(each == line[:-1] for each in lines)
    assert note == f"({3000 - len(lines)} log lines were dropped: stderr was too slow)".encode()
    os.close(reading)
    os.close(writing)
    console.write(b"nobody reads\n")
    console.close()


@pytest.mark.parametrize("error_number", [errno.ENOSPC, errno.EDQUOT])
def test_a_file_on_a_full_disk_is_written_again_when_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error_number: int
) -> None:
    """As a kernel does it: the last write before the disk is full is partial."""
    room, write = 10, os.write

    def limited(fd: int, data: bytes) -> int:
        nonlocal room
        if not room:
            raise OSError(error_number, os.strerror(error_number))
        taken = write(fd, data[:room])
        room -= taken
        return taken

    monkeypatch.setattr(os, "write", limited)
    with (tmp_path / "log").open("wb") as file:
        console = Console(file.fileno())
        for number in range(5):
            console.write(f"line {number}\n".encode())
        assert (tmp_path / "log").read_text() == "line 0\nlin"
        room = 1 << 30
        console.write(b"line 5\n")
        console.write(b"line 6\n")
        lines = (tmp_path / "log").read_text().splitlines()
        assert lines == [f"line {number}" for number in range(7)]
        room = 0
        for _ in range(3000):
            console.write(b"x" * 999 + b"\n")
        room = 1 << 30
        console.write(b"the last\n")
        console.write(b"after it\n")
        lines = (tmp_path / "log").read_text().splitlines()
        assert re.match(r"\(\d+ log lines were dropped", lines[-2])
        assert lines[-1] == "after it"
        console.close()


async def test_a_socket_as_stderr_like_journald_s() -> None:
    ours, theirs = socket.socketpair()
    console = Console(theirs.fileno())
    console.write(b"a line\n")
    assert ours.recv(100) == b"a line\n"
    for _ in range(3000):
        console.write(b"x" * 1000)
    for each in (console, ours, theirs):
        each.close()


def test_a_module_that_writes_without_end_is_not_stopped_by_a_terminal_that_is(
    tmp_path: Path,
) -> None:
    """Nobody reads the supervisor's stderr, as after Ctrl-S."""
    with Running(tmp_path, "chatty", "good") as running:
        block_until(running.modules_or_none, "the admin socket")  # without reading stderr
        assert running.detail("chatty", "wrote")
        block_until(lambda: running.module("good")["state"] == "ready")


def test_lines_of_modules_come_whole_and_in_order(tmp_path: Path) -> None:
    with Running(tmp_path, "raising", "good", sets=("supervisor.max_restarts=3",)) as running:
        running.wait_for("raising: crashed -> failed")
        lines = running.log.splitlines()
        assert all(line[0] in "IWEFD (" for line in lines if line)
        for pid in {
            line.split("raising[")[1].split("]")[0] for line in lines if "raising[" in line
        }:
            mine = [line for line in lines if f"raising[{pid}]" in line]
            assert mine == sorted(mine, key=lambda line: line[:22])


def test_without_stderr_it_runs_all_the_same(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.support.testbed", str(tmp_path), "good"]
    with Path("/dev/full").open("w") as full:
        process = subprocess.Popen(command, stderr=full, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 20
        notes = tmp_path / "notes" / "good"
        while not notes.exists():
            assert time.monotonic() < deadline
            os.sched_yield()
    finally:
        process.terminate()
        assert process.wait(20) == 0
