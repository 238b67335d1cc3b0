"""A device and a model with each field that v1beta1 has (api/apis/devices/v1beta1)."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

PUSH = {
    "http": {"hostName": "h", "port": 80, "requestPath": "/p", "timeout": 5},
    "mqtt": {"address": "tcp://m:1883", "topic": "t", "qos": 1, "retained": True},
    "otel": {"endpointURL": "http://o:4318"},
    "dbMethod": {
        "influxdb2": {
            "influxdb2ClientConfig": {"url": "u", "org": "o", "bucket": "b"},
            "influxdb2DataConfig": {"measurement": "m", "tag": {"a": "b"}, "fieldKey": "f"},
        },
        "redis": {"redisClientConfig": {"addr": "a", "db": 1, "poolsize": 2, "minIdleConns": 3}},
        "TDEngine": {"TDEngineClientConfig": {"addr": "a", "dbName": "d"}},
        "mysql": {"mysqlClientConfig": {"addr": "a", "database": "d", "userName": "u"}},
    },
    "anomalyDetection": {"limits": {"high": 5.5, "names": ["a"]}},
}
POWER: Json = {
    "name": "power",
    "desired": {"value": "ON", "metadata": {"type": "string", "timestamp": "1"}},
    "visitors": {"protocolName": "modbus", "configData": {"register": "Coil", "offset": 2}},
    "collectCycle": 200,
    "reportCycle": 200,
    "reportToCloud": True,
    "pushMethod": PUSH,
}
HEAT = {"name": "heat", "collectCycle": 200, "reportToCloud": True}
DEVICE: Json = {
    "metadata": {"name": "lamp", "labels": {"description": "a-lamp"}},
    "spec": {
        "deviceModelRef": {"name": "lamps"},
        "nodeName": "edge-1",
        "properties": [POWER, HEAT],
        "protocol": {"protocolName": "modbus", "configData": {"slaveID": 1, "deep": {"a": [1]}}},
        "methods": [{"name": "m", "description": "d", "propertyNames": ["power"]}],
    },
    "status": {"reportToCloud": True, "reportCycle": 200},
}
MODEL: Json = {
    "metadata": {"name": "lamps"},
    "spec": {
        "protocol": "modbus",
        "properties": [
            {
                "name": "power",
                "description": "whether it is on",
                "type": "STRING",
                "accessMode": "ReadWrite",
            },
            {
                "name": "heat",
                "type": "FLOAT",
                "accessMode": "ReadOnly",
                "minimum": "-1",
                "maximum": "99",
                "unit": "C",
            },
        ],
    },
}
