"""What the doctor checks for EdgeController, each well and wrong."""

from __future__ import annotations

from typing import Any

import pytest

from modules.common.kube import CUSTOMRESOURCEDEFINITIONS, NODES
from modules.edgecontroller import EdgeController
from modules.edgecontroller.config import EdgeControllerConfig
from supervisor.api import Check, Finding
from tests.support.checking import command, performed

from .cloud import Cloud
from .objects import BARRIER, node


@pytest.fixture(autouse=True)
async def _no_other_nodes(cloud: Cloud) -> None:
    await cloud.api.delete(NODES, BARRIER)


def checks(cloud: Cloud, **options: Any) -> list[Check]:
    config = EdgeControllerConfig(**options)
    return list(EdgeController.checks(config, cloud.settings, command))


async def have(cloud: Cloud, name: str, version: str) -> None:
    status = {"nodeInfo": {"kubeletVersion": version}} if version else {}
    await cloud.api.create(NODES, node(name))
    await cloud.api.patch(NODES, name, {"status": status}, subresource="status")


async def test_all_is_well(cloud: Cloud) -> None:
    await have(cloud, "a", "v1.32.10-kubeedge-v1.23.1")
    await have(cloud, "b", "v1.10.9-kubeedge-v1.1.0")
    await have(cloud, "c", "v1.32.10-kubeedge-v1.23.0")
    found = await performed(checks(cloud))
    assert {each.mark for each in found} == {"ok"}
    assert found[-1].text == "edges by their version of KubeEdge: 2 of 1.23, 1 of 1.1"


async def test_without_edges(cloud: Cloud) -> None:
    [finding] = await performed(checks(cloud), "the edges")
    text = "no Node is an edge by its labels (node-role.kubernetes.io/edge=)"
    assert finding == Finding.note(text)


@pytest.mark.parametrize(
    ("version", "text", "command_"),
    [
        (
            "v1.22.6-kubeedge-v1.12.0",
            "a: KubeEdge 1.12 was not tried with this cloudcore; upgrade the edges",
            "keadm upgrade edge",
        ),
        (
            "v1.40.0-kubeedge-v1.24.1",
            "a: KubeEdge 1.24 was not tried with this cloudcore; upgrade cloudcore",
            "",
        ),
        ("", "a: the edge has not said its version yet, or is none of KubeEdge", ""),
        ("v1.32.1", "a: the edge has not said its version yet, or is none of KubeEdge", ""),
    ],
)
async def test_versions_that_were_not_tried(
    cloud: Cloud, version: str, text: str, command_: str
) -> None:
    await have(cloud, "a", version)
    *_, finding = await performed(checks(cloud), "the edges")
    assert finding == Finding.note(text, command_)


async def test_many_edges_are_counted(cloud: Cloud) -> None:
    for number in range(7):
        await have(cloud, f"edge-{number}", "v1.22.6-kubeedge-v1.12.0")
    *_, finding = await performed(checks(cloud), "the edges")
    assert finding.text.startswith("edge-0, edge-1, edge-2, edge-3, edge-4 and 2 more: KubeEdge")


async def test_the_crds_of_object_syncs(cloud: Cloud) -> None:
    title = "the CRDs of ObjectSyncs"
    assert title not in [check.title for check in checks(cloud)]
    with_record = checks(cloud, record="objectsync")
    [finding] = await performed(with_record, title)
    assert finding.mark == "ok"
    name = "clusterobjectsyncs.reliablesyncs.kubeedge.io"
    await cloud.api.delete(CUSTOMRESOURCEDEFINITIONS, name)
    [finding] = await performed(with_record, title)
    text = 'the cluster lacks the CRDs of ObjectSyncs, which record = "objectsync" needs'
    assert finding == Finding.wrong(text, "cloudcore crds | kubectl apply -f -")
