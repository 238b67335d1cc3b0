"""Devices and models of v1beta1, and an edge of today that acknowledges what it is sent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import ipc
from modules.common.kube import DEVICEMODELS_V1BETA1, DEVICES_V1BETA1
from modules.common.wire.generations import V1_23, tell
from tests.modules.devicecontroller.api import Api
from tests.modules.devicecontroller.controller import Controller

Object = dict[str, Any]

NODE = "edge-node-1"
LED = "led-light-instance-01"
ID = f"default/{LED}"
#: The resources of the device and of its model, as an edge is told them.
DEVICE, MODEL = f"default/device/{LED}", "default/devicemodel/led-light"
CAPTURE = Path(__file__).parents[2] / "data" / "captures" / "v1.23-edge.jsonl"


def device(name: str = LED, *, node: str = NODE, value: str = "OFF", **spec: Any) -> Object:
    """Return the device of KubeEdge's led-light sample, as a person would write it."""
    properties = [
        {
            "name": "power-status",
            "desired": {"value": value},
            "reportCycle": 10000,
            "collectCycle": 10000,
            "reportToCloud": True,
        }
    ]
    whole = {
        "deviceModelRef": {"name": "led-light"},
        "nodeName": node,
        "properties": properties,
        "protocol": {"protocolName": "modbus", "configData": {}},
    }
    return {
        "apiVersion": DEVICES_V1BETA1.api_version,
        "kind": "Device",
        "metadata": {"name": name, "labels": {"description": "LEDLight"}},
        "spec": whole | spec,
    }


def model(name: str = "led-light", **spec: Any) -> Object:
    properties = [{"name": "power-status", "type": "STRING", "accessMode": "ReadWrite"}]
    return {
        "apiVersion": DEVICEMODELS_V1BETA1.api_version,
        "kind": "DeviceModel",
        "metadata": {"name": name},
        "spec": {"protocol": "modbus", "properties": properties} | spec,
    }


def recorded(source: str) -> list[Object]:
    """Return the messages of one source in the recorded session of a real edge of 1.23."""
    lines = map(json.loads, CAPTURE.read_text().splitlines())
    messages = [line["message"] for line in lines if line.get("message")]
    return [each for each in messages if each["route"]["source"] == source]


def put(obj: Object) -> Object:
    """Return an object without what the API server has added."""
    return {"metadata": {"name": obj["metadata"]["name"]}, "spec": obj["spec"]}


class Edge:
    """The part of edgecore that talks with DeviceController."""

    def __init__(self, controller: Controller, node: str = NODE) -> None:
        self.controller = controller
        self.node = node

    async def connect(self, generation: str = V1_23) -> None:
        await self.controller.hear(self.node, "", tell(generation), "connected", "cloudhub")

    async def disconnect(self) -> None:
        await self.controller.hear(self.node, "", None, "disconnected", "cloudhub")

    async def said(self, operation: str, resource: str) -> ipc.Message:
        """Return the next message, which is to have this operation and resource."""
        message = await self.controller.said()
        found = message.operation, message.resource
        assert found == (operation, f"node/{self.node}/{resource}"), message
        return message

    async def acknowledge(self, message: ipc.Message, content: str = "OK") -> None:
        """Acknowledge an object as edges do (processInsert, processUpdate, processDelete)."""
        inserted = message.operation == "insert"
        answer = ipc.Message.build(
            "meta" if inserted else message.source,
            "twin" if inserted else message.group,
            "response",
            message.resource,
            content,
            parent_id=message.id,
        )
        await self.controller.cloudhub.send_to_group("devicecontroller", answer)

    async def takes(self, operation: str, resource: str) -> ipc.Message:
        """Take the next message, an object, and acknowledge it."""
        message = await self.said(operation, resource)
        await self.acknowledge(message)
        return message

    async def takes_device(self, name: str = LED, *, with_model: bool = True) -> ipc.Message:
        """Take a device that is new to the node, with all that belongs to it."""
        message = await self.said("update", "membership")
        (added,) = message.content["added_devices"]
        assert added["id"] == f"default/{name}"
        if with_model:
            await self.takes("insert", MODEL)
        return await self.takes("insert", f"default/device/{name}")

    async def reports(self, resource: str, content: Any) -> ipc.Message:
        """Report, and take the confirmation."""
        sent = await self.controller.hear(self.node, resource, content)
        answer = await self.said("response", "twin")
        assert (answer.source, answer.group, answer.content) == ("devicecontroller", "twin", "OK")
        assert answer.parent_id == sent.id
        return answer


async def moves(api: Api, node: str) -> None:
    """Have the device belong to another node."""
    await api.make_node(node)
    await api.client.patch(DEVICES_V1BETA1, LED, {"spec": {"nodeName": node}}, "default")


async def make_device(api: Api, obj: Object | None = None) -> Object:
    """Create a device and its model, on a node that is there."""
    obj = obj or device()
    if obj["spec"].get("nodeName"):
        await api.make_node(obj["spec"]["nodeName"])
    return await api.client.create(DEVICES_V1BETA1, obj, "default")


async def make_model(api: Api, obj: Object | None = None) -> Object:
    return await api.client.create(DEVICEMODELS_V1BETA1, obj or model(), "default")


def twin_update(**values: str) -> bytes:
    """Return what an edge reports of properties (`_` stands for a hyphen)."""
    twin = {
        name.replace("_", "-"): {
            "actual": {"value": value, "metadata": {"timestamp": 7}},
            "optional": True,
            "metadata": {"type": "string"},
            "actual_version": {"cloud": 0, "edge": 1},
        }
        for name, value in values.items()
    }
    return json.dumps({"event_id": "e", "timestamp": 7, "twin": twin}).encode()
