"""The device profile: the description of a node's devices for the mappers there.

One JSON document per node and namespace, in the form of
cloud/pkg/devicecontroller/types/deviceprofile.go and byte for byte as Go encodes it: fields in the
order of the structs, empty ones omitted.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from typing import Any, Final

from modules.common.kube import Key, Object
from modules.common.wire import gojson
from modules.devicecontroller.v1alpha1.device import model_of

CONFIGMAP_PREFIX: Final = "device-profile-config-"
PROFILE_KEY: Final = "deviceProfile.json"

_PROTOCOL_FIELDS: Final = {
    "opcua": (
        "url",
        "userName",
        "password",
        "securityPolicy",
        "securityMode",
        "certificate",
        "privateKey",
        "timeout",
    ),
    "modbus-rtu": ("serialPort", "baudRate", "dataBits", "parity", "stopBits", "slaveID"),
    "modbus-tcp": ("ip", "port", "slaveID"),
    "bluetooth": ("macAddress",),
}
_VISITOR_FIELDS: Final = {
    "modbus": ("register", "offset", "limit", "scale", "isSwap", "isRegisterSwap"),
    "opcua": ("nodeID", "browseName"),
}
_CONVERTER_FIELDS: Final = ("startIndex", "endIndex", "shiftLeft", "shiftRight")


def configmap_name(node: str) -> str:
    return CONFIGMAP_PREFIX + node


def build(devices: Iterable[Object], models: Mapping[Key, Object]) -> str | None:
    """Return the profile of these devices, in their order; None if it would have no device.

    As in Go, a device whose model does not exist is omitted: a mapper cannot use it.
    """
    used: dict[Key, Object] = {}
    instances, protocols = [], []
    for device in devices:
        model = models.get(model_of(device))
        if model is None:
            continue
        used.setdefault(model_of(device), model)
        protocol = _protocol(device)
        protocols.append(protocol)
        instances.append(_instance(device, protocol))
    profile = {
        "deviceInstances": instances,
        "deviceModels": [_model(model) for model in used.values()],
        "protocols": protocols,
        "propertyVisitors": [visitor for model in used.values() for visitor in _visitors(model)],
    }
    return _encode(_set_fields(profile)) if instances else None


def _instance(device: Object, protocol: Object) -> Object:
    name = device["metadata"]["name"]
    return _set_fields(
        {"id": name, "name": name, "protocol": protocol.get("name"), "model": model_of(device)[1]}
    )


def _protocol(device: Object) -> Object:
    """Return the device's protocol; without one, like Go, only a configuration of null."""
    given = (device.get("spec") or {}).get("protocol") or {}
    modbus = given.get("modbus") or {}
    candidates = {
        "opcua": given.get("opcua"),
        "modbus-rtu": modbus.get("rtu"),
        "modbus-tcp": modbus.get("tcp"),
        "bluetooth": given.get("bluetooth"),
    }
    for protocol, configuration in candidates.items():
        if configuration is not None:
            return {
                "name": f"{protocol}-{device['metadata']['name']}",
                "protocol": protocol,
                "protocol_config": _pick(configuration, _PROTOCOL_FIELDS[protocol]),
            }
    return {"protocol_config": None}


def _model(model: Object) -> Object:
    properties = model["spec"].get("properties") or []
    return _set_fields(
        {
            "name": model["metadata"]["name"],
            "properties": [_property(declared) for declared in properties],
        }
    )


def _property(declared: Object) -> Object:
    types = declared.get("type") or {}
    data_type = next((name for name in ("int", "string") if types.get(name) is not None), None)
    about = types[data_type] if data_type else {}
    described = _set_fields(
        {
            "name": declared.get("name"),
            "dataType": data_type,
            "description": declared.get("description"),
            "accessMode": about.get("accessMode"),
        }
    )
    if data_type:
        # An interface in Go, so its zero value is encoded too.
        described["defaultValue"] = about.get("defaultValue", 0 if data_type == "int" else "")
    if data_type == "int":
        described |= _pick(about, ("minimum", "maximum", "unit"))
    return described


def _visitors(model: Object) -> Iterable[Object]:
    for visitor in model["spec"].get("propertyVisitors") or []:
        protocol, configuration = _visitor_config(visitor)
        described = _set_fields(
            {
                "name": visitor.get("propertyName"),
                "propertyName": visitor.get("propertyName"),
                "modelName": model["metadata"]["name"],
                "protocol": protocol,
            }
        )
        if protocol:
            described["visitorConfig"] = configuration
        yield described


def _visitor_config(visitor: Object) -> tuple[str, Object]:
    for protocol, fields in _VISITOR_FIELDS.items():
        if visitor.get(protocol) is not None:
            return protocol, _pick(visitor[protocol], fields)
    if visitor.get("bluetooth") is not None:
        return "bluetooth", _bluetooth_visitor(visitor["bluetooth"])
    return "", {}


def _bluetooth_visitor(visitor: Object) -> Object:
    write = visitor.get("dataWrite") or {}
    converter = visitor.get("dataConverter") or {}
    operations = [
        _pick(operation, ("operationType", "operationValue"))
        for operation in converter.get("orderOfOperations") or []
    ]
    described = _set_fields(
        {
            "characteristicUUID": visitor.get("characteristicUUID"),
            "dataWrite": {value: _octets(write[value]) for value in sorted(write)},
        }
    )
    # A struct, not a pointer, in Go: encoded even if it is empty.
    described["dataConverter"] = _pick(converter, _CONVERTER_FIELDS) | _set_fields(
        {"orderOfOperations": operations}
    )
    return described


def _octets(value: Any) -> Any:
    """Return bytes, given as a list of numbers or in base64, in base64 (Go's []byte)."""
    if isinstance(value, list) and all(number in range(256) for number in value):
        return base64.b64encode(bytes(value)).decode()
    return value


def _pick(source: Object, fields: Iterable[str]) -> Object:
    return _set_fields({field: source.get(field) for field in fields})


def _set_fields(fields: Object) -> Object:
    """Return the fields without zero values, as Go's `omitempty` does."""
    return {name: value for name, value in fields.items() if value}


def _encode(value: Any) -> str:
    """Encode as JSON, with keys in the given order, which is that of Go's structs."""
    if isinstance(value, dict):
        members = (f"{_encode(name)}:{_encode(member)}" for name, member in value.items())
        return "{" + ",".join(members) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_encode, value)) + "]"
    return gojson.dumps(value).decode()
