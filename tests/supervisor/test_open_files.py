"""Open files: as many as the system allows, and a warning where that is too few."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from supervisor.host.open_files import raise_limit
from tests.support.running import Running


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """What the limits are set to, one after the other; at first 20 and 143."""
    made = [(20, 143)]
    monkeypatch.setattr(resource, "getrlimit", lambda _: made[-1])
    monkeypatch.setattr(resource, "setrlimit", lambda _, limit: made.append(limit))
    return made


@pytest.mark.parametrize(("processes", "warned"), [(3, False), (4, True)])
def test_the_soft_limit_is_raised_to_the_hard_one(
    limits: list[tuple[int, int]],
    processes: int,
    warned: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    raise_limit(processes)
    assert limits == [(20, 143), (143, 143)]
    assert (
        "the limit of open files is 143, and cloudcore needs about 144;" in caplog.text
    ) is warned


def test_no_limit_is_no_fault(
    limits: list[tuple[int, int]], caplog: pytest.LogCaptureFixture
) -> None:
    limits.append((resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    raise_limit(100)
    assert len(limits) == 2
    assert not caplog.text


def test_an_inherited_descriptor_over_the_limit(tmp_path: Path) -> None:
    """The shell has it open when it lowers the limit below its number."""
    script = 'exec 1000</dev/null; ulimit -n 900; exec "$@"'
    with Running(tmp_path, "good", "asking", wrapper=("bash", "-c", script, "bash")) as running:
        running.ready("good", "asking")
        assert running.module("good")["restarts"] == 0


def test_modules_have_the_raised_limit(tmp_path: Path) -> None:
    script = 'ulimit -Sn 60; exec "$@"'
    with Running(tmp_path, "good", wrapper=("bash", "-c", script, "bash")) as running:
        running.ready("good")
        for pid in (running.process.pid, running.module("good")["pid"]):
            soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
            assert soft == hard > 60
