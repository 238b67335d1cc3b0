"""CloudHub's Unix sockets, for clients that are not edges."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from modules.cloudhub import unix_server
from modules.cloudhub.unix_server import UnixServer, remove_dead


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def test_a_file_at_its_path_is_told_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "precious.txt"
    path.write_text("data")
    with pytest.raises(OSError, match="not a socket"):
        async with UnixServer(path, silent):
            pass
    assert path.read_text() == "data"


async def test_a_socket_that_somebody_removes_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(unix_server, "LOOK", 0.01)
    path = tmp_path / "run" / "a.sock"
    path.parent.mkdir()
    async with asyncio.timeout(20), UnixServer(path, silent):
        path.unlink()
        path.parent.rmdir()
        while "No such file" not in caplog.text:
            await asyncio.sleep(0)
        path.parent.mkdir()
        while "created it again" not in caplog.text:
            await asyncio.sleep(0)
        _, writer = await asyncio.open_unix_connection(path)
        writer.close()
        await writer.wait_closed()
    assert caplog.text.count("No such file") == 1
    assert not path.exists()


def test_only_dead_sockets_are_cleaned_up(tmp_path: Path) -> None:
    dead, living, file = (tmp_path / f"hub{name}.sock" for name in ("", "-2", "-3"))
    file.write_text("data")
    with socket.socket(socket.AF_UNIX) as one, socket.socket(socket.AF_UNIX) as other:
        one.bind(str(dead))
        other.bind(str(living))
        other.listen()
        remove_dead(tmp_path, "hub")
        assert set(tmp_path.iterdir()) == {living, file}
