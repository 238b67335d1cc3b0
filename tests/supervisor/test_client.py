"""Asking a supervisor that is busy."""

from __future__ import annotations

import errno
import socket
import threading
from collections.abc import Callable, Iterator
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


@pytest.fixture
def answering(tmp_path: Path) -> Iterator[Callable[[bytes], Path]]:
    """Makes a server that sends an answer of any bytes to one request, and closes."""
    threads = []
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "admin.sock"))
        server.listen()
        server.settimeout(20)

        def serve(answer: bytes) -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(answer)

        def start(answer: bytes) -> Path:
            thread = threading.Thread(target=serve, args=(answer,))
            thread.start()
            threads.append(thread)
            return Path(server.getsockname())

        yield start
        for thread in threads:
            thread.join(20)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"", "it ends within its head"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "it has no status line"),
        (b"HTTP/1.1 2000 OK\r\n\r\n", "it has no status line"),
        (b"HTTP/1.1 200 OK\r\nContent-", "it ends within its head"),
        (b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 200 + b"\r\n{}", "more than 100 headers"),
        (b"HTTP/1.1 200 " + b"K" * 70_000 + b"\r\n\r\n{}", "a line that is too long"),
        (ANSWER[:-1], "it ends after 1 of 2 bytes"),
    ],
)
def test_an_answer_that_is_not_http_says_what_is_wrong(
    answering: Callable[[bytes], Path], answer: bytes, reason: str
) -> None:
    with pytest.raises(client.AdminError, match=f"is not HTTP: .*{reason}"):
        client.request(answering(answer), "GET", "/status")


def test_an_error_has_the_text_of_the_supervisor(answering: Callable[[bytes], Path]) -> None:
    answer = b'HTTP/1.1 409 Conflict\r\ncontent-length: 17\r\n\r\n{"error": "busy"}'
    with pytest.raises(client.Refused, match="busy") as refused:
        client.request(answering(answer), "POST", "/stop")
    assert refused.value.status == 409


def test_an_answer_without_a_length_ends_with_its_connection(
    answering: Callable[[bytes], Path],
) -> None:
    path = answering(b"HTTP/1.1 200 OK\r\n\r\none\ntwo\n")
    assert list(client.stream(path, "/logs")) == ["one", "two"]
