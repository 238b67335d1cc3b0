"""Fixtures: the API server of a test, and the running module."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from modules.common.pki.certificates import Pki
from modules.devicecontroller import upstream
from tests.modules.devicecontroller.api import Api, running_api
from tests.modules.devicecontroller.controller import Controller, running


@pytest.fixture(autouse=True)
def _left_to_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have nodes of v1.1 that ask for nothing told nothing, however long a test takes."""
    monkeypatch.setattr(upstream, "_ASK_WITHIN", 3600.0)


@pytest.fixture
async def api(tmp_path: Path, pki: Pki) -> AsyncIterator[Api]:
    async with running_api(tmp_path, pki) as api:
        yield api


@pytest.fixture
async def controller(api: Api) -> AsyncIterator[Controller]:
    async with running(api.settings) as controller:
        yield controller
