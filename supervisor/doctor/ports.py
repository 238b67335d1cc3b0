"""The ports of all modules and of the admin interface: free, or held by the running cloudcore."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import psutil

from supervisor.api import Settings
from supervisor.checks import Check, Finding
from supervisor.config import Configuration
from supervisor.config.references import running as running_modules
from supervisor.doctor.running import RunningCloudcore
from supervisor.host import sockets
from supervisor.host.listener import Listener


class _Port(NamedTuple):
    """A port that is to be listened on, for whom, and the table that sets it."""

    owner: str
    listener: Listener
    table: str


def checks(
    configuration: Configuration, settings: Settings, running: RunningCloudcore
) -> list[Check]:
    """Return a check for each port; port 0 needs none."""
    found = []
    for port in _ports(configuration, settings):
        if port.listener.port:

            def look(port: _Port = port) -> Iterator[Finding]:
                yield _check_port(port, running)

            where = f"{port.listener.address}:{port.listener.port}"
            found.append(Check(f"port {where}/{port.listener.kind} of {port.owner}", look))
    return found


def _ports(configuration: Configuration, settings: Settings) -> Iterator[_Port]:
    for spec in running_modules(configuration, settings):
        for name, listener in spec.cls.listeners(spec.config, settings).items():
            table = listener.table or f"[modules.{spec.name}]"
            yield _Port(f"{spec.name} ({name})", listener, table)
    if configuration.admin.address:
        host, _, number = configuration.admin.address.rpartition(":")
        yield _Port("the admin interface", Listener(host.strip("[]"), int(number)), "[admin]")


def _check_port(port: _Port, running: RunningCloudcore) -> Finding:
    what = f"port {port.listener.port}/{port.listener.kind} of {port.owner}"
    try:
        sockets.close_all(sockets.open_all({port.owner: port.listener}))
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return _in_use(what, port, running)
        return Finding.wrong(f"{error.strerror}; correct {port.table}")
    return Finding.ok(f"{what} is free")


def _in_use(what: str, port: _Port, running: RunningCloudcore) -> Finding:
    number = port.listener.port
    holders = _holders(number, port.listener.kind)
    if status := running.status:
        ours = any(each.endswith(f":{number}") for each in running.listening())
        if ours or status["pid"] in holders:
            return Finding.ok(f"{what} is held by the running cloudcore")
    holder = ", ".join(f"process {pid} ({name})" for pid, name in holders.items())
    option = "-lunp" if port.listener.kind == "udp" else "-ltnp"
    return Finding.wrong(
        f"{what} is held by {holder or 'another program'}; stop it, or set another port in "
        f"{port.table}",
        f"ss {option} 'sport = :{number}'",
    )


def _holders(number: int, kind: str) -> Mapping[int, str]:
    """Return the processes that hold a port, as far as this user may see them."""
    found = {}
    type_ = socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM
    try:
        for each in psutil.net_connections("udp" if kind == "udp" else "tcp"):
            bound = each.type == type_ and each.laddr and each.laddr.port == number
            if bound and each.pid and (kind == "udp" or each.status == psutil.CONN_LISTEN):
                found[each.pid] = psutil.Process(each.pid).name()
    except psutil.Error:
        return found
    return found
