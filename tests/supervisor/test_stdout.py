"""Commands whose standard output is closed or full: one line on stderr, and exit status 74."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.running import DEADLINE, Running

CLOUDCORE = (sys.executable, "-m", "supervisor")
CLOSED = "cannot write to standard output: Bad file descriptor"
FULL = "cannot write to standard output: No space left on device"

ALONE = (
    ("--help",),
    ("--version",),
    ("version",),
    ("completion", "bash"),
    ("config", "default"),
    ("config", "show"),
    ("config", "check"),
    ("crds",),
)
WITH_A_SUPERVISOR = (
    ("status",),
    ("status", "-o", "json"),
    ("top", "--count", "1", "--interval", "0.1"),
    ("logs",),
    ("logs", "-f"),
    ("events",),
    ("crashes",),
    ("dead-letters", "list"),
    ("restart", "good"),
    ("disable", "good"),
    ("enable", "good"),
    ("reload",),
    ("stop", "good"),
    ("start", "good"),
)


def run(redirection: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", "-c", f'exec "$@" {redirection}', "sh", *CLOUDCORE, *arguments],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        timeout=DEADLINE,
        check=False,
    )


def check(done: subprocess.CompletedProcess[str], says: str) -> None:
    lines = [line for line in done.stderr.splitlines() if not line.startswith("waiting for ")]
    assert (done.returncode, lines) == (74, [f"Error: {says}"]), done.args


@pytest.mark.parametrize(("redirection", "says"), [(">&-", CLOSED), (">/dev/full", FULL)])
def test_commands_that_stand_alone(redirection: str, says: str) -> None:
    for arguments in ALONE if says == FULL else ALONE[:3]:
        check(run(redirection, *arguments), says)


@pytest.mark.parametrize(("redirection", "says"), [(">&-", CLOSED), (">/dev/full", FULL)])
def test_commands_that_ask_a_supervisor(tmp_path: Path, redirection: str, says: str) -> None:
    with Running(tmp_path, "good") as running:
        running.ready("good")
        for arguments in WITH_A_SUPERVISOR if says == FULL else WITH_A_SUPERVISOR[:3]:
            check(run(redirection, *arguments, *running.directories), says)


@pytest.mark.parametrize("redirection", [">&-", ">/dev/full", ">&- <&-", ">&- 2>&-"])
def test_an_error_has_its_own_exit_status(tmp_path: Path, redirection: str) -> None:
    assert run(redirection, "status", "--run-dir", str(tmp_path / "none")).returncode == 3
    assert run(redirection, "nonsense").returncode == 2


def test_a_reader_that_has_read_enough_is_no_error() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as closed:
        done = subprocess.run(
            [*CLOUDCORE, "version"],
            stdout=closed,
            stderr=subprocess.PIPE,
            timeout=DEADLINE,
            check=False,
        )
    assert done.stderr == b""


def test_cloudcore_runs_without_standard_output(tmp_path: Path) -> None:
    directories = ["--run-dir", str(tmp_path / "run"), "--data-dir", str(tmp_path)]
    ports = ["--set", "modules.apiserver.port=0", "--set", 'modules.enabled=["apiserver"]']
    command = [*CLOUDCORE, "run", *directories, *ports]
    for redirection in (">&-", ">/dev/full"):
        process = subprocess.Popen(
            ["sh", "-c", f'exec "$@" {redirection}', "sh", *command],
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            assert process.stderr
            for line in process.stderr:
                if "module apiserver: starting -> ready" in line:
                    break
            else:
                pytest.fail("it did not start")
        finally:
            process.terminate()
            rest = process.communicate(timeout=DEADLINE)[1]
        assert process.returncode == 0
        assert "Traceback" not in rest
