"""Unix sockets: private, replacing only sockets, and created again if removed."""

from __future__ import annotations

import asyncio
import socket
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from ipc.unix_socket import LONGEST_PATH, UnixListener, path_fault, remove_socket


async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"hello\n")
    await writer.drain()
    writer.close()


async def greeting(path: Path) -> bytes:
    reader, writer = await asyncio.open_unix_connection(path)
    try:
        async with asyncio.timeout(10):
            return await reader.read()
    finally:
        writer.close()
        await writer.wait_closed()


@asynccontextmanager
async def listening(path: Path) -> AsyncIterator[UnixListener]:
    listener = UnixListener(path, greet)
    await listener.listen()
    try:
        yield listener
    finally:
        listener.close()


def leave_a_socket(path: Path) -> None:
    """Leave a socket behind, as a killed process does."""
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(path))


async def test_it_listens_privately_and_takes_its_socket_away(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    async with listening(path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert await greeting(path) == b"hello\n"
    assert not path.exists()


async def test_a_socket_that_was_left_behind_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    leave_a_socket(path)
    async with listening(path):
        assert await greeting(path) == b"hello\n"


@pytest.mark.parametrize("kind", ["file", "directory", "link"])
async def test_what_is_no_socket_stays_and_is_told(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "precious.txt"
    match kind:
        case "file":
            path.write_text("data")
        case "directory":
            path.mkdir()
        case "link":
            path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match=r"precious\.txt: the path exists and is not a socket"):
        async with listening(path):
            pass
    remove_socket(path)
    assert list(tmp_path.iterdir()) == [path]


async def test_somebody_elses_file_in_its_place_is_not_removed_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    async with listening(path):
        path.unlink()
        path.write_text("data")
    assert path.read_text() == "data"


async def test_a_socket_that_was_removed_can_be_made_again(tmp_path: Path) -> None:
    path = tmp_path / "run" / "a.sock"
    path.parent.mkdir()
    async with listening(path) as listener:
        assert listener.intact
        path.unlink()
        assert not listener.intact
        path.parent.rmdir()
        with pytest.raises(OSError, match=r"a\.sock: No such file"):
            await listener.listen()
        path.parent.mkdir()
        await listener.listen()
        assert listener.intact
        assert await greeting(path) == b"hello\n"


async def test_a_path_that_is_too_long_is_told_with_its_length(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 120)
    with pytest.raises(
        OSError, match=rf"is {len(str(path))} bytes long.* may have at most {LONGEST_PATH}"
    ):
        await UnixListener(path, greet).listen()
    assert not path_fault(Path("/" + "x" * 106))
    assert path_fault(Path("/" + "é" * 54))
