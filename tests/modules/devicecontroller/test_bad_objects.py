"""Whatever the API server hands out, one object is set aside by itself, and heals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ipc import Message
from modules.common.kube import CONFIGMAPS, DEVICEMODELS, DEVICES, NODES, Resource
from modules.devicecontroller.v1alpha1 import devices
from modules.devicecontroller.v1alpha1.device import keep_compressed
from modules.devicecontroller.v1alpha1.kubectl_apply import LAST_APPLIED
from modules.devicecontroller.v1alpha1.profiles import profile
from tests.modules.devicecontroller.fakes import Bench, running
from tests.modules.devicecontroller.samples import NODE, device, model
from tests.support.mutations import mutated, whole

CHUNK = 50

PROPERTIES = [
    {
        "name": "a",
        "description": "d",
        "type": {
            "int": {"accessMode": "R", "defaultValue": 1, "minimum": 0, "maximum": 2, "unit": "u"},
            "string": {"accessMode": "R", "defaultValue": "x"},
        },
    }
]
VISITORS = [
    {
        "propertyName": "a",
        "opcua": {"nodeID": "n", "browseName": "b"},
        "modbus": {
            "register": "r",
            "offset": 1,
            "limit": 2,
            "scale": 0.5,
            "isSwap": True,
            "isRegisterSwap": False,
        },
        "bluetooth": {
            "characteristicUUID": "u",
            "dataWrite": {"ON": [1], "RAW": "AQI="},
            "dataConverter": {
                "startIndex": 1,
                "endIndex": 2,
                "shiftLeft": 3,
                "shiftRight": 4,
                "orderOfOperations": [{"operationType": "Add", "operationValue": 1.5}],
            },
        },
    }
]
PROTOCOL = {
    "opcua": {"url": "u", "userName": "n", "password": "p", "timeout": 1},
    "modbus": {
        "rtu": {"serialPort": "s", "baudRate": 9600, "slaveID": 1},
        "tcp": {"ip": "i", "port": 502, "slaveID": "1"},
    },
    "bluetooth": {"macAddress": "m"},
}


def whole_device() -> dict[str, Any]:
    found = device("whole", model="whole", protocol=PROTOCOL)
    found["metadata"]["annotations"] = {
        LAST_APPLIED: '{"status": {"twins": [{"propertyName": "a", "desired": {"value": "1"}}]}}'
    }
    found["status"]["twins"][0]["reported"] = {"value": "1", "metadata": {"timestamp": "1"}}
    found["status"]["conditions"] = [{"type": "Other", "status": "True"}]
    return found


def whole_profile() -> dict[str, Any]:
    return whole(
        CONFIGMAPS, name=profile.configmap_name(NODE), namespace="default", resourceVersion="1"
    )


WHOLE = {
    DEVICES: whole_device,
    DEVICEMODELS: lambda: model("whole", properties=PROPERTIES, propertyVisitors=VISITORS),
    CONFIGMAPS: whole_profile,
    NODES: lambda: whole(NODES),
}


@pytest.fixture(autouse=True, params=["as it is", "compressed"])
def _as_kept(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have devices kept as a single cloudcore does, or as one of several."""
    if request.param == "compressed":
        monkeypatch.setattr(devices, "keep_device", keep_compressed)


@pytest.fixture(autouse=True)
def _no_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modules.devicecontroller.status.acceptance._GRACE", 0.0)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("resource", WHOLE, ids=lambda resource: resource.plural)
async def test_every_field_is_anything(
    resource: Resource, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Another device is announced all the while, and is in the profile; nothing was a bug."""
    obj = WHOLE[resource]()
    async with running(tmp_path) as bench:
        bench.api.feed(DEVICEMODELS, model("lamp"))
        if resource is DEVICEMODELS:
            bench.api.feed(DEVICES, whole_device())
        if resource is DEVICES:
            bench.api.feed(DEVICEMODELS, WHOLE[DEVICEMODELS]())
        await bench.settle()
        fed: list[Any] = []
        for number, bad in enumerate(mutated(obj), 2):
            bench.api.feed(resource, bad, "MODIFIED")
            fed.append(bad)
            if number % CHUNK == 0:
                await check_that_it_goes_on(bench, number)
                for each in fed:
                    bench.api.feed(resource, each, "DELETED")
                fed.clear()
        await check_that_it_goes_on(bench, 0)
    assert "a bug in cloudcore" not in caplog.text, caplog.text[-3000:]
    assert "Traceback" not in caplog.text


async def check_that_it_goes_on(bench: Bench, number: int) -> None:
    await bench.settle()
    bench.told()
    good = device(f"good-{number}", model="lamp", version=str(number), uid=f"u{number}")
    bench.api.feed(DEVICES, good)
    await bench.settle()
    told = [message.content for message in bench.told() if message.resource.endswith("membership")]
    added = [each["id"] for content in told for each in content["added_devices"] or ()]
    assert f"good-{number}" in added
    bench.api.feed(DEVICES, good, "DELETED")
    await bench.settle()


async def test_a_device_that_cannot_be_used_says_so_and_heals(tmp_path: Path) -> None:
    async with running(tmp_path) as bench:
        bench.api.feed(DEVICEMODELS, model())
        bench.api.feed(DEVICES, device("d"))
        await bench.settle()
        assert bench.condition("d")["status"] == "True"
        bench.told()
        bad = device("d", version="300")
        bad["spec"]["deviceModelRef"] = "led-light"
        bench.api.feed(DEVICES, bad, "MODIFIED")
        await bench.settle()
        assert not bench.told()  # its node keeps what it has
        condition = bench.condition("d")
        assert (condition["status"], condition["reason"]) == ("False", "InvalidObject")
        problem = "spec.deviceModelRef: expected an object, got a string"
        assert condition["message"] == problem
        [event] = [each for each in bench.api.events if each["reason"] == "InvalidObject"]
        assert event["message"] == f"set aside: {problem}"
        bench.api.feed(
            DEVICES, device("d", version="301", twins={"power-status": "ON"}), "MODIFIED"
        )
        await bench.settle()
        assert bench.condition("d")["status"] == "True"
        [message] = bench.told()
        assert message.content["twin"]["power-status"]["expected"]["value"] == "ON"


@pytest.mark.parametrize("ends", ["mended", "deleted"])
async def test_a_node_keeps_a_device_over_a_restart(tmp_path: Path, ends: str) -> None:
    """Whatever it is by then: the controller knows no other state of it than what was told."""
    async with running(tmp_path) as bench:
        bench.api.feed(DEVICES, device("d"))
        await bench.settle()
    bad = device("d", version="300") | {"spec": "led"}
    async with running(tmp_path, bad) as bench:
        assert not bench.told()
        bench.hear(Message.build("twin", "twin", "get", f"node/{NODE}/membership/detail"))
        await bench.settle()
        [answer] = bench.told()
        assert [each["id"] for each in answer.content["devices"]] == ["d"]
        if ends == "deleted":
            bench.api.feed(DEVICES, bad, "DELETED")
            await bench.settle()
            [message] = bench.told()
            assert [each["id"] for each in message.content["removed_devices"]] == ["d"]
        else:
            bench.api.feed(DEVICES, device("d", version="301"), "MODIFIED")
            await bench.settle()
            assert not bench.told()


async def test_a_model_that_cannot_be_used_leaves_out_its_own_devices(tmp_path: Path) -> None:
    async with running(tmp_path) as bench:
        bench.api.feed(DEVICEMODELS, model("good"))
        bad = model("bad", properties=[{"name": "power", "type": "string"}])
        bench.api.feed(DEVICEMODELS, bad)
        bench.api.feed(DEVICES, device("a", model="bad"))
        bench.api.feed(DEVICES, device("b", model="good"))
        await bench.settle()
        assert {each["added_devices"][0]["id"] for each in contents(bench)} == {"a", "b"}
        condition = bench.condition("a")
        assert condition["reason"] == "InvalidModel"
        assert "spec.properties[0].type: expected an object, got a string" in condition["message"]
        assert bench.condition("b")["status"] == "True"
        [written] = [obj for plural, obj in bench.api.created if plural == CONFIGMAPS.plural]
        assert '"id":"b"' in written["data"]["deviceProfile.json"]
        bench.api.feed(DEVICEMODELS, model("bad") | {"spec": {}}, "MODIFIED")
        await bench.settle()
        assert bench.condition("a")["status"] == "True"


async def test_applied_values_that_are_no_strings(tmp_path: Path) -> None:
    """`value: ON` without quotes is true in YAML."""
    async with running(tmp_path) as bench:
        bad = device("d", twins={})
        twins = '[{"propertyName": "power", "desired": {"value": true}}]'
        bad["metadata"]["annotations"] = {LAST_APPLIED: f'{{"status": {{"twins": {twins}}}}}'}
        bench.api.feed(DEVICES, bad)
        await bench.settle()
        assert not bench.told()
        message = bench.condition("d")["message"]
        assert message.startswith(f"metadata.annotations[{LAST_APPLIED}].status.twins[0].desired")


async def test_what_is_known_of_a_device_that_is_gone_is_dropped(tmp_path: Path) -> None:
    async with running(tmp_path) as bench:
        bench.api.feed(DEVICES, device("d"))
        resource = f"node/{NODE}/device/d/twin/edge_updated"
        twin = {"twin": {"power-status": {"actual": {"value": "ON"}}}}
        bench.hear(Message.build("twin", "twin", "update", resource, twin))
        await bench.settle()
        assert bench.controller.alpha.writer._latest
        bench.api.feed(DEVICES, device("d"), "DELETED")
        await bench.settle()
        assert not bench.controller.alpha.writer._latest


def contents(bench: Bench) -> list[dict[str, Any]]:
    return [message.content for message in bench.told()]
