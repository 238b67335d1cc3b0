"""Verbs while a module crashes again and again, and verbs whose client has gone."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from supervisor.fleet.control import Control, NotPossible
from supervisor.fleet.fleet import Fleet
from tests.support.running import Running


def configure(base: Path, *lines: str) -> None:
    text = [
        'modules.enabled = ["raising", "good", "listening"]',
        "supervisor.stop_timeout = 0.5",
        "supervisor.max_restarts = 100000",
        "supervisor.backoff_max = 0.5",
        'modules.good.supervision.after = ["raising"]',
        *lines,
    ]
    (base / "cloudcore.toml").write_text("\n".join(text))


@contextlib.contextmanager
def looping(base: Path) -> Iterator[Running]:
    """`raising` crashes again and again, and `good` is to start after it."""
    configure(base)
    (base / "luck").touch()
    with Running(base) as running:
        running.ready("raising", "good", "listening")
        (base / "luck").unlink()
        os.kill(running.module("raising")["pid"], signal.SIGKILL)
        running.wait_for("raising: crashed -> backoff")
        running.wait_for("raising: crashed -> backoff")
        yield running


def test_a_reload_does_not_wait_for_a_module_that_keeps_crashing(tmp_path: Path) -> None:
    with looping(tmp_path) as running:
        before = running.module("good")["pid"]
        configure(tmp_path, "modules.good.supervision.watchdog = 50.0")
        done = running.cli("reload")
        assert "restarted: good" in done.stdout
        good = running.module("good")
        assert good["state"] == "ready"
        assert good["pid"] != before
        assert running.cli("restart", "listening").returncode == 0
        assert running.cli("stop", "raising").stdout == "stopped\n"
        assert running.module("raising")["state"] == "stopped"


def test_what_waits_for_a_crashing_module_is_told_and_holds_up_nobody(tmp_path: Path) -> None:
    with looping(tmp_path) as running:
        running.cli("stop", "good")
        done = running.cli("start", "good")
        assert done.returncode == 1
        assert "waits for raising" in done.stdout
        assert running.cli("restart", "listening").returncode == 0
        (tmp_path / "luck").touch()
        running.ready("good")


class FakeFleet:
    """As much of a fleet as a verb needs that stops a module."""

    def __init__(self) -> None:
        self.changing = asyncio.Lock()
        self.stopping = False
        self.disabled: dict[str, Any] = {}
        self.units: dict[str, Any] = {}


@pytest.mark.parametrize("verb", ["start", "stop", "restart", "enable", "disable"])
async def test_a_verb_whose_client_has_gone_before_its_turn_is_not_carried_out(verb: str) -> None:
    fleet, gone = FakeFleet(), False
    nothing: Any = None
    control = Control(cast(Fleet, fleet), nothing, nothing, lambda: gone)
    await fleet.changing.acquire()
    asked = asyncio.create_task(getattr(control, verb)("m"))
    await asyncio.sleep(0)
    gone = True
    fleet.changing.release()
    with pytest.raises(NotPossible, match="client closed the connection"):
        await asked
    assert not fleet.changing.locked()


def test_a_client_that_gave_up_while_it_waited_changes_nothing(tmp_path: Path) -> None:
    sets = ("modules.deaf.supervision.stop_timeout=3.0",)
    with Running(tmp_path, "deaf", "good", sets=sets) as running:
        running.ready("deaf", "good")
        with running.write(b"POST /modules/deaf/stop HTTP/1.1\r\nHost: x\r\n\r\n"):
            running.wait_for("deaf: ready -> stopping")
            running.write(b"POST /modules/good/stop HTTP/1.1\r\nHost: x\r\n\r\n").close()
            running.wait_for("a request was not carried out: its client left")
        assert running.module("good")["state"] == "ready"
