"""Devices of both API versions, and malformed ones."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from modules.common.kube import DEVICES, DEVICES_V1BETA1, DEVICESTATUSES, NotFound, Unreachable
from modules.dashboard.history import History
from modules.dashboard.live.devices import DeviceBoard
from modules.dashboard.live.viewers import Viewers
from modules.dashboard.sources.devices import Devices, Twin, alpha, beta

ALPHA: dict[str, Any] = {
    "metadata": {"namespace": "default", "name": "old"},
    "spec": {
        "deviceModelRef": {"name": "m"},
        "protocol": {"modbus": {}},
        "nodeSelector": {
            "nodeSelectorTerms": [{"matchExpressions": [{"key": "", "values": ["edge-1"]}]}]
        },
    },
    "status": {
        "twins": [
            {
                "propertyName": "t",
                "desired": {"value": "1"},
                "reported": {"value": "2", "metadata": {"timestamp": "3"}},
            }
        ],
        "conditions": [{"type": "Accepted", "status": "False", "message": "no such model"}],
    },
}
BETA: dict[str, Any] = {
    "metadata": {"namespace": "default", "name": "new"},
    "spec": {
        "nodeName": "edge-2",
        "deviceModelRef": {"name": "m"},
        "protocol": {"protocolName": "opcua"},
        "properties": [{"name": "t", "desired": {"value": 5}}, {"name": "u"}],
    },
}
STATUS = {
    "metadata": {"namespace": "default", "name": "new"},
    "status": {
        "state": "online",
        "lastOnlineTime": "2026-01-01T00:00:00Z",
        "twins": [
            {"propertyName": "t", "reported": {"value": "4", "metadata": {"timestamp": "9"}}}
        ],
    },
}


def test_a_device_of_1_1() -> None:
    device = alpha(ALPHA)
    assert (device.node, device.model, device.protocol) == ("edge-1", "m", "modbus")
    assert device.twins == [Twin("t", "1", "2", "3")]
    assert device.fault == "no such model"


def test_a_device_of_today() -> None:
    device = beta(BETA, STATUS)
    assert (device.node, device.model, device.protocol) == ("edge-2", "m", "opcua")
    assert device.twins == [Twin("t", "5", "4", "9"), Twin("u", "", "", "")]
    assert (device.state, device.online, device.fault) == ("online", "2026-01-01T00:00:00Z", "")
    assert beta(BETA | {"status": STATUS["status"]}, {}).twins == device.twins  # up to 1.22


@pytest.mark.parametrize("odd", [None, 7, "x", [], [7], {"a": []}])
@pytest.mark.parametrize("field", ["spec", "status"])
def test_whatever_is_written_it_is_read(odd: Any, field: str) -> None:
    metadata = {"namespace": "n", "name": "x"}
    alpha({"metadata": metadata, field: odd})
    beta({"metadata": metadata, field: odd}, {"metadata": metadata, "status": odd})
    for name in ("twins", "conditions", "properties", "nodeSelector", "protocol", "deviceModelRef"):
        alpha({"metadata": metadata, field: {name: odd}})
        beta({"metadata": metadata, field: {name: odd}}, {})


class Served:
    def __init__(self, objects: dict[Any, Any]) -> None:
        self.objects = objects
        self.asked = 0

    async def list(self, resource: Any) -> list[Any]:
        self.asked += 1
        await asyncio.sleep(0)  # others read meanwhile
        found = self.objects.get(resource)
        if found is None:
            raise NotFound(404, "NotFound", "no such resource")
        if isinstance(found, Exception):
            raise found
        return list(found)


async def test_both_versions_together_and_one_list_for_all_pages() -> None:
    cluster = Served({DEVICES: [ALPHA, "odd"], DEVICES_V1BETA1: [BETA], DEVICESTATUSES: [STATUS]})
    devices = Devices(cluster)  # type: ignore[arg-type]
    assert [each.name for each in await devices.read()] == ["new", "old"]
    await devices.read()
    assert cluster.asked == 3


async def test_an_object_that_is_served_in_both_versions_is_one() -> None:
    as_beta = {**ALPHA, "spec": {"properties": []}}
    cluster = Served({DEVICES: [ALPHA], DEVICES_V1BETA1: [as_beta]})
    (device,) = await Devices(cluster).read()  # type: ignore[arg-type]
    assert (device.version, device.node) == ("v1alpha1", "edge-1")


async def test_without_crds_or_api_there_are_none() -> None:
    devices = Devices(Served({}))  # type: ignore[arg-type]
    assert await devices.read() == []
    assert devices.fault == ""
    away = Devices(Served({DEVICES: Unreachable("nobody", request="list")}))  # type: ignore[arg-type]
    assert await away.read() == []
    assert "nobody" in away.fault


async def test_devices_stay_as_they_were_while_the_api_does_not_answer() -> None:
    cluster = Served({DEVICES: [ALPHA], DEVICES_V1BETA1: [BETA]})
    devices = Devices(cluster)  # type: ignore[arg-type]
    assert len(await devices.read()) == 2
    cluster.objects = {DEVICES: Unreachable("nobody", request="list"), DEVICES_V1BETA1: [BETA]}
    devices._read_at = -100.0
    assert len(await devices.read()) == 2
    assert "nobody" in devices.fault
    cluster.objects = {DEVICES: [], DEVICES_V1BETA1: [BETA]}
    devices._read_at = -100.0
    assert len(await devices.read()) == 1
    assert devices.fault == ""


async def test_who_asks_during_a_read_gets_what_it_finds() -> None:
    cluster = Served({DEVICES: Unreachable("nobody", request="list")})
    devices = Devices(cluster)  # type: ignore[arg-type]

    async def read() -> tuple[list[str], str]:
        return [each.name for each in await devices.read()], devices.fault

    names, fault = await read()
    assert not names
    assert "nobody" in fault
    cluster.objects = {DEVICES: [ALPHA]}
    devices._read_at = -100.0  # the former list is not fresh any more
    assert await asyncio.gather(read(), read()) == [(["old"], "")] * 2
    assert cluster.asked == 6


async def test_a_page_that_closes_during_a_read_leaves_no_old_list() -> None:
    devices = Devices(Served({DEVICES: [ALPHA]}))  # type: ignore[arg-type]
    reading = asyncio.create_task(devices.read())
    await asyncio.sleep(0)
    reading.cancel()
    await asyncio.wait([reading])
    assert [each.name for each in await devices.read()] == ["old"]


def test_which_devices_are_not_well_since_when_and_why(tmp_path: Path) -> None:
    well = beta(BETA, STATUS)
    offline = beta(BETA, {"status": {"state": "offline", "lastOnlineTime": "1970-01-01T00:00:09Z"}})
    faulty = alpha(ALPHA)
    history, viewers = History(tmp_path / "history.json"), Viewers()
    source = Devices(Served({}))  # type: ignore[arg-type]
    board = DeviceBoard(source, history, viewers)
    board.compare([well, faulty])
    assert not history.changes  # they are what there was at the start
    board.compare([faulty, offline])
    assert (board.summary()["total"], board.summary()["not_well"]) == (2, 2)
    assert board.summary()["troubled"] == [
        {
            "name": "default/new",
            "state": "offline",
            "since": 9.0,
            "why": "so its edge edge-2 reports",
        },
        {"name": "default/old", "state": "not accepted", "since": None, "why": "no such model"},
    ]
    board.compare([])
    seen = [(each.kind, each.name, each.old, each.new) for each in history.changes]
    assert seen[0] == ("device", "default/new", "online", "offline")
    assert set(seen[1:]) == {
        ("device", "default/new", "offline", "removed"),
        ("device", "default/old", "not accepted", "removed"),
    }


def test_devices_that_cannot_be_read_are_not_gone(tmp_path: Path) -> None:
    history = History(tmp_path / "history.json")
    source = Devices(Served({}))  # type: ignore[arg-type]
    board = DeviceBoard(source, history, Viewers())
    board.compare([alpha(ALPHA)])
    source.fault = "nobody is there"
    board.compare([])
    assert board.summary()["total"] == 1
    assert not history.changes


def test_what_edges_write_is_kept_up_to_a_length(tmp_path: Path) -> None:
    history = History(tmp_path / "history.json")
    board = DeviceBoard(Devices(Served({})), history, Viewers())  # type: ignore[arg-type]
    board.compare([beta(BETA, STATUS)])
    board.compare([beta(BETA, {"status": {"state": "x" * 1_000_000}})])
    assert history.changes[0].new == "x" * 400


def test_since_when_is_what_the_dashboard_has_seen_if_nothing_else_says_so(tmp_path: Path) -> None:
    history = History(tmp_path / "history.json")
    board = DeviceBoard(Devices(Served({})), history, Viewers())  # type: ignore[arg-type]
    board.compare([beta(BETA, STATUS)])
    board.compare([beta(BETA, {"status": {"state": "unhealthy"}})])
    assert board.summary()["troubled"][0]["since"] == history.changes[0].at
