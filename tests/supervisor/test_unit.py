"""A unit alone: its process and its host are fakes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from supervisor.unit.restart_policy import Supervision
from supervisor.unit.shared_state import LastWords
from supervisor.unit.unit import Unit
from tests.support.goodmodules import Noting


class Process:
    """A cleanup that ends without having come to its end."""

    def __init__(self, code: int, words: LastWords | None) -> None:
        self._code = code
        self.shared_state = SimpleNamespace(
            cleaned=False, last_words=lambda: words, close=lambda: None
        )

    async def wait(self, timeout: float | None = None) -> int:
        return self._code


class Tidying(Noting):
    name = "tidying"

    def start(self, context: Any) -> None: ...


@pytest.mark.parametrize(
    ("code", "words", "reason"),
    [
        (-9, None, "killed by SIGKILL"),
        (3, None, "exit status 3"),
        (70, LastWords("ValueError: 7"), "ValueError: 7"),
    ],
)
async def test_a_cleanup_that_failed_is_told_with_its_reason(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    code: int,
    words: LastWords | None,
    reason: str,
) -> None:
    nothing: Any = None
    module: Any = Tidying(nothing, nothing)
    unit = Unit("tidying", module, Supervision(), nothing, {}, nothing, host=nothing)
    monkeypatch.setattr(unit, "_new_process", lambda _: Process(code, words))
    await unit.clean_up()
    assert caplog.messages == [f"module tidying: the cleanup failed: {reason}"]
