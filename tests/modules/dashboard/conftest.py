"""Fixtures: a cloudcore with a dashboard, and browsers of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.modules.dashboard.cloudcore import begin
from tests.modules.dashboard.visitor import Browser
from tests.support.running import Running


@pytest.fixture(scope="module")
def cloudcore(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One for the tests of a file that leave it as it is."""
    with begin(tmp_path_factory.mktemp("dashboard"), "good") as running:
        yield running


@pytest.fixture
async def visitor(cloudcore: Running) -> AsyncIterator[Browser]:
    """A browser that has not logged in."""
    browser = Browser(cloudcore)
    async with browser.http:
        yield browser


@pytest.fixture
async def operator(cloudcore: Running) -> AsyncIterator[Browser]:
    """A browser that has logged in."""
    browser = Browser(cloudcore)
    async with browser.http:
        await browser.log_in()
        yield browser
