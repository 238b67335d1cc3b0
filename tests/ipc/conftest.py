"""Fixtures of the tests of channels."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.ipc.processes import Start, processes


@pytest.fixture
def start() -> Iterator[Start]:
    """Start `target(*args)` in a process, which is killed at the end of the test."""
    with processes() as started:
        yield started
