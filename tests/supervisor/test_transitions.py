"""Every transition that there is, gone through by a real process."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest

from supervisor.unit.states import TRANSITIONS
from tests.support.running import Running

Deed = Callable[[Running], object]


class Life(NamedTuple):
    module: str
    path: str
    """the states it goes through; the deed is done at the one in brackets"""
    deed: Deed
    sets: tuple[str, ...] = ()


def nothing(_: Running) -> None: ...


def killed(module: str) -> Deed:
    return lambda running: os.kill(running.module(module)["pid"], signal.SIGKILL)


def told(*arguments: str) -> Deed:
    return lambda running: running.cli(*arguments)


NEVER = ('supervisor.restart="never"',)
SHORT = ("supervisor.stop_timeout=3.0",)
LATER = ("supervisor.backoff_initial=1000.0", "supervisor.backoff_max=1000.0")
TOO_MUCH = (
    "modules.greedy.descriptors=300",
    "supervisor.max_fds=200",
    "supervisor.limit_grace=0.1",
    "supervisor.max_restarts=0",
)
BORN = "disabled stopped starting"

LIVES = {
    "stops in order": Life("good", f"{BORN} [ready] stopping stopped", told("stop", "good")),
    "is killed": Life("good", f"{BORN} [ready] crashed backoff starting ready", killed("good")),
    "dies before it is ready": Life(
        "slow", "disabled stopped [starting] crashed backoff", killed("slow"), LATER
    ),
    "is stopped before it is ready": Life(
        "slow", "disabled stopped [starting] stopping stopped", told("stop", "slow")
    ),
    "cannot start, and is told to": Life(
        "refusing",
        f"{BORN} crashed [failed] starting crashed failed",
        told("start", "refusing"),
    ),
    "has failed, and is disabled": Life(
        "refusing", f"{BORN} crashed [failed] disabled", told("disable", "refusing")
    ),
    "is not to be restarted": Life("good", f"{BORN} [ready] crashed failed", killed("good"), NEVER),
    "is stopped while it is cleaned up after": Life(
        "fragile", f"{BORN} ready [crashed] stopped", told("stop", "fragile"), SHORT
    ),
    "has failed, and is stopped": Life(
        "refusing", f"{BORN} crashed [failed] stopped", told("stop", "refusing")
    ),
    "is restarted": Life(
        "good", f"{BORN} [ready] stopping backoff starting ready", told("restart", "good")
    ),
    "waits for its restart, and is stopped": Life(
        "raising", f"{BORN} crashed [backoff] stopped", told("stop", "raising"), LATER
    ),
    "is disabled": Life(
        "good", f"{BORN} [ready] stopping stopped disabled", told("disable", "good")
    ),
    "takes too much too often": Life("greedy", f"{BORN} ready stopping failed", nothing, TOO_MUCH),
}


def transitions(path: str) -> list[tuple[str, str]]:
    return list(pairwise(path.replace("[", "").replace("]", "").split()))


@pytest.mark.parametrize("life", LIVES.values(), ids=LIVES.keys())
def test_a_real_process_goes_through_each_transition(life: Life, tmp_path: Path) -> None:
    with Running(
        tmp_path, life.module, "environment", sets=("log.verbosity=1", *life.sets)
    ) as running:
        at = f"[{life.path.partition('[')[2].partition(']')[0]}]"
        for bracketed, (old, new) in zip(
            life.path.split()[1:], transitions(life.path), strict=True
        ):
            running.wait_for(f"module {life.module}: {old} -> {new}")
            if bracketed == at:
                life.deed(running)
        assert running.events(life.module) == [
            f"{old} -> {new}" for old, new in transitions(life.path)
        ]
        found = re.findall(rf"module {life.module}: (\w+) -> (\w+)", running.log)
        assert found == transitions(life.path)


def test_the_lives_have_every_transition() -> None:
    lived = {transition for life in LIVES.values() for transition in transitions(life.path)}
    assert lived == {(old, new) for old, after in TRANSITIONS.items() for new in after}
