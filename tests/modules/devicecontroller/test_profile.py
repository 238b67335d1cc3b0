"""The profile, byte for byte as Go's encoding of types/deviceprofile.go gives it."""

from __future__ import annotations

from typing import Any

import pytest

from modules.common.kube import key_of
from modules.devicecontroller.v1alpha1.profiles.profile import (
    build,
    configmap_name,
)
from tests.modules.devicecontroller.samples import device, model


def built(devices: list[dict[str, Any]], *models: dict[str, Any]) -> str | None:
    return build(devices, {key_of(one): one for one in models})


def test_configmap_name() -> None:
    assert configmap_name("edge-1") == "device-profile-config-edge-1"


def test_device_without_protocol() -> None:
    # addDeviceInstanceAndProtocol appends an empty Protocol, whose configuration is not omitted.
    assert built([device()], model()) == (
        '{"deviceInstances":[{"id":"led-light-instance-01","name":"led-light-instance-01",'
        '"model":"led-light"}],'
        '"deviceModels":[{"name":"led-light","properties":['
        '{"name":"power-status","dataType":"string",'
        '"description":"Indicates whether the led light is ON/OFF","accessMode":"ReadWrite",'
        '"defaultValue":"OFF"},'
        '{"name":"gpio-pin-number","dataType":"int",'
        '"description":"Indicates the GPIO pin to which LED is connected",'
        '"accessMode":"ReadOnly","defaultValue":18}]}],'
        '"protocols":[{"protocol_config":null}]}'
    )


def test_bluetooth_sample() -> None:
    """The shape of build/crd-samples/devices/CC2650-device-model.yaml."""
    sensor = model(
        "cc2650-sensortag",
        properties=[
            {
                "name": "temperature",
                "description": "temperature in degree celsius",
                "type": {
                    "int": {"accessMode": "ReadOnly", "maximum": 100, "unit": "degree celsius"}
                },
            },
            {
                "name": "temperature-enable",
                "description": "enable <data> & collection",
                "type": {"string": {"accessMode": "ReadWrite", "defaultValue": "ON"}},
            },
        ],
        propertyVisitors=[
            {
                "propertyName": "temperature",
                "bluetooth": {
                    "characteristicUUID": "f000aa0104514000b000000000000000",
                    "dataConverter": {
                        "startIndex": 1,
                        "endIndex": 0,
                        "shiftRight": 2,
                        "orderOfOperations": [
                            {"operationType": "Multiply", "operationValue": 0.03125}
                        ],
                    },
                },
            },
            {
                "propertyName": "temperature-enable",
                "bluetooth": {
                    "characteristicUUID": "f000aa0204514000b000000000000000",
                    "dataWrite": {"ON": [1], "OFF": [0], "RAW": "AQI="},
                },
            },
        ],
    )
    tag = device(
        "tag-01", model="cc2650-sensortag", protocol={"bluetooth": {"macAddress": "BC:6A"}}
    )
    assert built([tag], sensor) == (
        '{"deviceInstances":[{"id":"tag-01","name":"tag-01","protocol":"bluetooth-tag-01",'
        '"model":"cc2650-sensortag"}],'
        '"deviceModels":[{"name":"cc2650-sensortag","properties":['
        '{"name":"temperature","dataType":"int","description":"temperature in degree celsius",'
        '"accessMode":"ReadOnly","defaultValue":0,"maximum":100,"unit":"degree celsius"},'
        '{"name":"temperature-enable","dataType":"string",'
        '"description":"enable \\u003cdata\\u003e \\u0026 collection",'
        '"accessMode":"ReadWrite","defaultValue":"ON"}]}],'
        '"protocols":[{"name":"bluetooth-tag-01","protocol":"bluetooth",'
        '"protocol_config":{"macAddress":"BC:6A"}}],'
        '"propertyVisitors":['
        '{"name":"temperature","propertyName":"temperature","modelName":"cc2650-sensortag",'
        '"protocol":"bluetooth","visitorConfig":{'
        '"characteristicUUID":"f000aa0104514000b000000000000000",'
        '"dataConverter":{"startIndex":1,"shiftRight":2,"orderOfOperations":['
        '{"operationType":"Multiply","operationValue":0.03125}]}}},'
        '{"name":"temperature-enable","propertyName":"temperature-enable",'
        '"modelName":"cc2650-sensortag","protocol":"bluetooth","visitorConfig":{'
        '"characteristicUUID":"f000aa0204514000b000000000000000",'
        '"dataWrite":{"OFF":"AA==","ON":"AQ==","RAW":"AQI="},"dataConverter":{}}}]}'
    )


@pytest.mark.parametrize(
    ("protocol", "expected"),
    [
        (
            {"modbus": {"rtu": {"slaveID": 0, "serialPort": "/dev/ttyS0", "baudRate": 9600}}},
            (
                '{"name":"modbus-rtu-d","protocol":"modbus-rtu",'
                '"protocol_config":{"serialPort":"/dev/ttyS0","baudRate":9600}}'
            ),
        ),
        (
            {"modbus": {"tcp": {"slaveID": "1", "port": 502, "ip": "10.0.0.1", "extra": 1}}},
            (
                '{"name":"modbus-tcp-d","protocol":"modbus-tcp",'
                '"protocol_config":{"ip":"10.0.0.1","port":502,"slaveID":"1"}}'
            ),
        ),
        (
            {"opcua": {"timeout": 5, "url": "opc.tcp://h"}, "bluetooth": {}},
            (
                '{"name":"opcua-d","protocol":"opcua",'
                '"protocol_config":{"url":"opc.tcp://h","timeout":5}}'
            ),
        ),
        ({"bluetooth": {}}, '{"name":"bluetooth-d","protocol":"bluetooth","protocol_config":{}}'),
        ({"modbus": {}}, '{"protocol_config":null}'),
    ],
)
def test_protocols(protocol: dict[str, Any], expected: str) -> None:
    text = built([device("d", protocol=protocol)], model())
    assert text is not None
    assert text.endswith(f'"protocols":[{expected}]}}')


def test_visitors_of_the_other_protocols() -> None:
    text = built(
        [device("d")],
        model(
            propertyVisitors=[
                {
                    "propertyName": "a",
                    "modbus": {
                        "limit": 1,
                        "offset": 0,
                        "register": "CoilRegister",
                        "scale": 1.0,
                        "isSwap": True,
                        "isRegisterSwap": False,
                    },
                },
                {"propertyName": "b", "opcua": {"nodeID": "ns=1,i=1005"}},
                {"propertyName": "c"},
            ]
        ),
    )
    assert text is not None
    assert text.endswith(
        '"propertyVisitors":['
        '{"name":"a","propertyName":"a","modelName":"led-light","protocol":"modbus",'
        '"visitorConfig":{"register":"CoilRegister","limit":1,"scale":1,"isSwap":true}},'
        '{"name":"b","propertyName":"b","modelName":"led-light","protocol":"opcua",'
        '"visitorConfig":{"nodeID":"ns=1,i=1005"}},'
        '{"name":"c","propertyName":"c","modelName":"led-light"}]}'
    )


def test_model_once_for_several_devices() -> None:
    text = built([device("a"), device("b"), device("c", model="other")], model(), model("other"))
    assert text is not None
    assert text.count('"name":"led-light"') == 1
    assert text.index('"name":"led-light"') < text.index('"name":"other"')


def test_device_without_its_model_is_left_out() -> None:
    text = built([device("a"), device("b", model="unknown")], model())
    assert text is not None
    assert '"b"' not in text
    assert built([device("b", model="unknown")], model()) is None


def test_model_of_another_namespace_is_not_taken() -> None:
    assert built([device(namespace="factory")], model()) is None


def test_nothing_to_say() -> None:
    assert built([]) is None
