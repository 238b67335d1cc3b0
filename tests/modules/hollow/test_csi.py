"""The CSI plugin of hollow edges: what both generations answer to the cloud."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from ipc import Message
from modules.common.wire import generations
from modules.hollow.edge import HollowEdge
from modules.hollow.link import FORMS
from tests.modules.hollow.cloud import QUICK, Cloud, serving

CREATE = '{"name":"pvc-1","capacityRange":{"requiredBytes":"1073741824"},"parameters":{"k":"v"}}'
VERSIONS = {generations.V1_1: "1.1", generations.V1_23: "1.23"}


@pytest.fixture(params=sorted(FORMS))
async def cloud(request: pytest.FixtureRequest) -> AsyncIterator[Cloud]:
    async with serving(generation=request.param) as running:
        running.version = VERSIONS[request.param]  # type: ignore[attr-defined]
        yield running


@pytest.fixture
async def edge(cloud: Cloud) -> AsyncIterator[HollowEdge]:
    version: str = cloud.version  # type: ignore[attr-defined]
    timing = replace(QUICK, volume=0.05)
    async with HollowEdge("edge-1", cloud.url, kubeedge=version, timing=timing) as running:
        await cloud.wait(lambda: cloud.sessions)
        yield running


async def ask(cloud: Cloud, operation: str, content: str) -> Any:
    """Return the content of the edge's answer, decoded."""
    question = Message.build("cloudhub", "resource", operation, "default/volume/v", content)
    cloud.send(question)
    answer = await cloud.message("response", "default/volume/v", parent_id=question.id)
    assert (answer.source, answer.group) == ("cloudhub", "resource")
    if isinstance(answer.content, bytes):
        return msgspec.json.decode(answer.content) if answer.content else None
    return answer.content


async def test_a_volume_is_made_published_and_deleted(cloud: Cloud, edge: HollowEdge) -> None:
    made = await ask(cloud, "createvolume", CREATE)
    volume = made["volume"]
    assert made == {
        "volume": {
            "capacity_bytes": 1073741824,
            "volume_id": volume["volume_id"],
            "volume_context": {"k": "v"},
        }
    }
    assert await ask(cloud, "createvolume", CREATE) == made
    about = f'{{"volumeId":"{volume["volume_id"]}","nodeId":"edge-1"}}'
    assert await ask(cloud, "controllerpublishvolume", about) == {}
    assert edge.volumes == {volume["volume_id"]: {"name": "pvc-1", "published": "edge-1"}}
    await edge.restart()
    await cloud.wait(lambda: len(cloud.sessions) == 2)
    assert await ask(cloud, "controllerunpublishvolume", about) == {}
    assert edge.volumes == {volume["volume_id"]: {"name": "pvc-1"}}
    assert await ask(cloud, "deletevolume", about) == {}
    assert edge.volumes == {}


@pytest.mark.parametrize(
    ("operation", "content"),
    [
        ("controllerpublishvolume", '{"volumeId":"none","nodeId":"edge-1"}'),
        ("createvolume", "no JSON"),
        ("createvolume", '{"name":"x","capacityRange":{"requiredBytes":"many"}}'),
    ],
)
async def test_a_failure_is_answered_late_with_nothing(
    cloud: Cloud, edge: HollowEdge, operation: str, content: str
) -> None:
    assert await ask(cloud, operation, content) is None
    assert edge.volumes == {}
