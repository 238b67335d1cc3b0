"""Fixtures: the API server of a test, and the running module."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from modules.common.pki.certificates import Pki
from tests.modules.devicecontroller.api import Api, running_api
from tests.modules.devicecontroller.controller import Controller, running


@pytest.fixture
async def api(tmp_path: Path, pki: Pki) -> AsyncIterator[Api]:
    async with running_api(tmp_path, pki) as api:
        yield api


@pytest.fixture
async def controller(api: Api) -> AsyncIterator[Controller]:
    async with running(api.settings) as controller:
        yield controller
