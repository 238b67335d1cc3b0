"""What systemd is told."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.running import Running


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(20)
        yield listening


def until(systemd: socket.socket, wanted: str) -> list[str]:
    """Take what is told until it is this; everything in lines."""
    told: list[str] = []
    while wanted not in told:
        told += systemd.recv(4096).decode().splitlines()
    return told


def test_readiness_status_reload_watchdog_and_stopping(
    tmp_path: Path, systemd: socket.socket
) -> None:
    # A sign of life each second: more would fill the socket's queue while a command runs.
    env = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "2000000"}
    (tmp_path / "cloudcore.toml").write_text('modules.enabled = ["good", "environment"]')
    with Running(tmp_path, "-", env=env) as running:
        told = until(systemd, "READY=1")
        assert told[-2:] == ["STATUS=2 of 2 modules ready", "READY=1"]
        until(systemd, "WATCHDOG=1")
        assert running.detail("environment", "names")
        assert "NOTIFY_SOCKET" not in running.detail("environment", "names")
        assert "WATCHDOG_USEC" not in running.detail("environment", "names")
        running.cli("reload")
        told = until(systemd, "RELOADING=1")
        told += until(systemd, "READY=1")
        assert any(line.startswith("MONOTONIC_USEC=") for line in told)
        running.cli("stop", "good")
        until(systemd, "STATUS=1 of 2 modules ready")
        running.cli("stop")
        until(systemd, "STOPPING=1")
        assert running.wait() == 0


def test_ready_is_said_when_what_can_run_does(tmp_path: Path, systemd: socket.socket) -> None:
    with Running(tmp_path, "good", "refusing", env={"NOTIFY_SOCKET": str(tmp_path / "notify")}):
        assert "STATUS=1 of 2 modules ready" in until(systemd, "READY=1")


def test_a_socket_that_is_gone_is_told_and_survived(tmp_path: Path) -> None:
    with Running(tmp_path, "good", env={"NOTIFY_SOCKET": str(tmp_path / "none")}) as running:
        running.wait_for("cannot notify systemd of 'READY=1': No such file or directory")
        assert running.status()["state"] == "running"
