"""Listening sockets of modules that do not run: clients are refused at once, the port is kept."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from supervisor.fleet.fleet import Fleet
from supervisor.host import sockets
from supervisor.host.listener import Listener
from supervisor.unit.states import State
from supervisor.unit.unit import Unit
from tests.support.running import DEADLINE, Running


@pytest.fixture(params=["127.0.0.1", "::1"])
def listening(request: pytest.FixtureRequest) -> Iterator[sockets.Sockets]:
    try:
        opened = sockets.open_all({"s": Listener(request.param, 0)})
    except OSError:
        if request.param == "::1":
            pytest.skip("this machine has no IPv6")
        raise
    yield opened
    sockets.close_all(opened)


def connect(at: Any) -> socket.socket:
    return socket.create_connection(at[:2], timeout=DEADLINE)


def test_a_refused_socket_keeps_its_port_and_listens_again(listening: sockets.Sockets) -> None:
    sock = listening["s"]
    at = sock.getsockname()
    with connect(at) as waiting:
        sockets.refuse(listening)
        sockets.refuse(listening)
        with pytest.raises(ConnectionResetError):
            waiting.recv(1)
    with pytest.raises(ConnectionRefusedError):
        connect(at)
    with pytest.raises(OSError, match="in use"):
        sockets.open_all({"other": Listener(*at[:2])})
    sockets.accept_again(listening)
    assert sock.getsockname() == at
    with connect(at):
        sock.setblocking(True)
        sock.accept()[0].close()
    sockets.accept_again(listening)
    with connect(at) as waiting:
        waiting.setblocking(False)
        with pytest.raises(BlockingIOError):  # it is in the backlog
            waiting.recv(1)


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_datagrams_wait_while_nobody_reads(address: str) -> None:
    try:
        opened = sockets.open_all({"d": Listener(address, 0, "udp")})
    except OSError:
        assert address == "::1"
        pytest.skip("this machine has no IPv6")
    sock = opened["d"]
    at = sock.getsockname()
    sockets.refuse(opened)
    sockets.accept_again(opened)
    with socket.socket(sock.family, socket.SOCK_DGRAM) as client:
        client.sendto(b"waiting", at)
        sock.setblocking(True)
        sock.settimeout(DEADLINE)
        assert sock.recv(100) == b"waiting"
    with pytest.raises(OSError, match=f"cannot listen on {address}:{at[1]} for other: .*in use"):
        sockets.open_all({"other": Listener(address, at[1], "udp")})
    sockets.close_all(opened)


def unit(state: State, *, backoff: float = 0.0, started: bool = True, after: Any = None) -> Unit:
    nothing: Any = None
    made = Unit("m", nothing, nothing, nothing, {}, nothing, state, host=nothing)
    made._backoff, made.first_started, made.waits_for = backoff, float(started), after
    return made


@pytest.mark.parametrize(
    ("of", "away"),
    [
        (unit(State.READY), False),
        (unit(State.STARTING), False),
        (unit(State.STOPPING), False),
        (unit(State.BACKOFF, backoff=0.4), False),
        (unit(State.BACKOFF, backoff=5.0), True),
        (unit(State.STOPPED), True),
        (unit(State.STOPPED, started=False), False),
        (unit(State.STOPPED, started=False, after=unit(State.STARTING)), False),
        (unit(State.STOPPED, started=False, after=unit(State.FAILED)), True),
        (unit(State.FAILED), True),
    ],
)
def test_who_accepts_no_connections_for_a_while(of: Unit, away: bool) -> None:
    assert of.away is away


@pytest.mark.parametrize(("second", "refused"), [(State.READY, False), (State.FAILED, True)])
def test_a_socket_is_refused_when_no_process_of_its_module_is_there(
    listening: sockets.Sockets, second: State, refused: bool
) -> None:
    units = {"m": unit(State.FAILED), "m-2": unit(second)}
    for each in units.values():
        each.module, each.sockets = cast(Any, SimpleNamespace(name="m")), listening
    fleet: Any = SimpleNamespace(units=units)
    Fleet._refuse_connections(fleet)
    accepts = listening["s"].getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    assert bool(accepts) is not refused


def test_a_stopped_module_refuses_and_a_started_one_accepts(tmp_path: Path) -> None:
    with Running(tmp_path, "listening", sets=("supervisor.stop_timeout=0.3",)) as running:
        running.ready("listening")
        host, _, port = running.module("listening")["details"]["listen"]["echo"].rpartition(":")
        running.cli("stop", "listening")
        with pytest.raises(ConnectionRefusedError):
            connect((host, int(port)))
        running.cli("start", "listening")
        with connect((host, int(port))) as connection:
            assert int(connection.recv(100)) == running.module("listening")["pid"]


def test_a_port_that_is_taken_has_a_reason_of_one_line_without_the_address_twice() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match="cannot listen") as raised:
            sockets.open_all({"door": Listener("127.0.0.1", port)})
    assert raised.value.strerror == (
        f"cannot listen on 127.0.0.1:{port} for door: Address already in use; "
        "`cloudcore doctor` names the process that uses it"
    )
