"""Fixtures: a cloud for edges of 1.15 to 1.23, and such an edge."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from modules.common.wire import generations
from modules.hollow.edge import HollowEdge
from modules.hollow.events import Event
from tests.modules.hollow.cloud import Cloud, serving
from tests.modules.hollow.v1_23.api import TIMING, Api, edged_of


@pytest.fixture
async def cloud() -> AsyncIterator[Cloud]:
    async with serving(generation=generations.V1_23) as running:
        yield running


@pytest.fixture
def api(cloud: Cloud) -> Api:
    return Api(cloud)


@pytest.fixture
async def edge(cloud: Cloud, api: Api, events: list[Event]) -> AsyncIterator[HollowEdge]:
    made = HollowEdge("edge-1", cloud.url, kubeedge="1.23", timing=TIMING, on_event=events.append)
    async with made as running:
        await running.wait_until(lambda: edged_of(running).node.registered, 20, "registration")
        yield running
