"""Asking a supervisor that is busy."""

from __future__ import annotations

import errno
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor import client

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"


@pytest.fixture
def listening(tmp_path: Path) -> Iterator[tuple[socket.socket, int]]:
    """A socket whose backlog is full, and how many connections that took."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "admin.sock"))
        server.listen(0)
        waiting = []
        while True:
            each = socket.socket(socket.AF_UNIX)
            waiting.append(each)
            each.setblocking(False)
            if each.connect_ex(server.getsockname()) == errno.EAGAIN:
                break
        yield server, len(waiting) - 1
        for each in waiting:
            each.close()


def test_a_full_backlog_is_waited_for(listening: tuple[socket.socket, int]) -> None:
    server, before = listening
    answers = []
    path = Path(server.getsockname())
    asking = threading.Thread(
        target=lambda: answers.append(client.request(path, "GET", "/status", timeout=20))
    )
    asking.start()
    for number in range(before + 1):
        connection, _ = server.accept()
        with connection:
            if number == before:
                connection.recv(1000)
                connection.sendall(ANSWER)
    asking.join(20)
    assert answers == [{}]


def test_a_backlog_that_stays_full_is_a_timeout(listening: tuple[socket.socket, int]) -> None:
    path = Path(listening[0].getsockname())
    with pytest.raises(client.AdminError, match=r"no answer from .* within 0\.05 s"):
        client.request(path, "GET", "/status", timeout=0.05)
