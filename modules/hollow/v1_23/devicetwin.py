"""The deviceTwin of an edge: its list of devices, and the objects that its mappers get.

After edge/pkg/devicetwin (process.go, dtmanager/dmiworker.go, dmicache, dmiclient). A device
reaches the mapper of its protocol only when its model is at the edge, and only by its own message:
one that came too early is not registered when the model comes. What is deleted is found at the
mapper by the protocol in the message.
"""

from __future__ import annotations

import time
import uuid
from typing import Any, Final

import msgspec

from ipc import Message
from modules.hollow.confirmations import Confirmations
from modules.hollow.events import Emit
from modules.hollow.link import Link
from modules.hollow.store import Store, split
from modules.hollow.timing import Timing
from modules.hollow.v1_23.mapper import Mapper
from modules.hollow.v1_23.twins import Twins
from modules.hollow.versions import Version

Json = dict[str, Any]

DEVICE: Final = "device"
MODEL: Final = "devicemodel"

#: The senders of messages about devices.
_CLOUD: Final = ("devicecontroller", "edgemgr")

#: Raised by messages that an edge cannot read.
_UNREADABLE: Final = (
    msgspec.DecodeError,
    UnicodeDecodeError,
    KeyError,
    TypeError,
    AttributeError,
)


class DeviceTwin:
    """What one edge does with devices; `store` and `devices` are its database."""

    def __init__(
        self,
        node: str,
        version: Version,
        store: Store,
        devices: dict[str, Json],
        *,
        link: Link,
        emit: Emit,
        timing: Timing,
    ) -> None:
        self.devices = devices
        self.confirmations = Confirmations(link, timing.confirm)
        self._node = node
        self._version = version
        self._store = store
        self._emit = emit
        self._twins = Twins(
            devices, link, self.confirmations, emit, reports_states=version.reports_states
        )
        self.mapper = Mapper(self._twins, emit, timing)
        #: The devices and models that the edge works with, by id (DMICache in Go).
        self._devices: dict[str, Json] = {}
        self._models: dict[str, Json] = {}

    @property
    def follows(self) -> bool:
        """Whether devices do what is desired; if not, a caller uses `report`."""
        return self.mapper.follows

    @follows.setter
    def follows(self, follows: bool) -> None:
        self.mapper.follows = follows

    def start(self) -> None:
        """Read what is stored; the mapper, which starts then too, gets it."""
        for type_, cache in ((MODEL, self._models), (DEVICE, self._devices)):
            for full_id, obj in self._store.of_type(type_).items():
                cache[self._id(*full_id.split("/"))] = obj
        for device_id in self._devices:
            try:
                self._register(device_id)
            except _UNREADABLE as error:
                self._emit("unreadable", f"device/{device_id}", f"{type(error).__name__}: {error}")

    def connected(self) -> None:
        """Ask for the whole list of devices, as on every new connection."""
        content = {
            "event_type": "group_membership_event",
            "event_id": str(uuid.uuid4()),
            "group_id": self._node,
            "operation": "detail",
            "timestamp": time.time_ns() // 1_000_000,
        }
        body = msgspec.json.encode(content).decode()
        question = Message.build("twin", "resource", "get", "membership/detail", body)
        self.confirmations.send(question)

    def stop(self) -> None:
        self.confirmations.stop()
        self.mapper.stop()

    def handle(self, message: Message) -> None:
        """Handle a message of group `twin` from the cloud; one with a parent id confirms."""
        if message.parent_id:
            self.confirmations.confirm(message.parent_id)
            return
        if message.source not in _CLOUD:
            self._emit("ignored", message.resource, f"from {message.source}")
            return
        try:
            content = message.content
            if isinstance(content, bytes | str):
                content = msgspec.json.decode(content)
            self._apply(message.resource, content)
        except _UNREADABLE as error:
            self._emit("unreadable", message.resource, f"{type(error).__name__}: {error}")

    def object_changed(self, operation: str, key: str, obj: Any) -> None:
        """Handle a device or a model that the cloud has sent or deleted."""
        namespace, type_, name = split(key)
        handle = {DEVICE: self._device_changed, MODEL: self._model_changed}.get(type_)
        if handle is None:
            self._emit("ignored", key, "neither a device nor a model")
            return
        try:
            handle(operation, self._id(namespace, name), obj)
        except _UNREADABLE as error:
            self._emit("unreadable", key, f"{type(error).__name__}: {error}")

    def report(self, device_id: str, values: dict[str, str]) -> None:
        """Have a device report values; raises KeyError if it has no such property."""
        for name, value in values.items():
            self.mapper.set(device_id, name, value)

    def _apply(self, resource: str, content: Json) -> None:
        if "membership/detail" in resource:
            self._twins.replace(content.get("devices") or [])
        elif "membership" in resource:
            self._twins.add(content.get("added_devices") or [])
            removed = content.get("removed_devices") or []
            self._twins.remove([device["id"] for device in removed])
        else:
            self._emit("ignored", resource, "no such twin message")

    def _device_changed(self, operation: str, device_id: str, device: Json) -> None:
        if operation == "insert":
            self._devices[device_id] = device
            self._register(device_id)
        elif operation == "delete":
            if self._reaches_mapper(device_id, _protocol_of_device(device)):
                self.mapper.remove(device_id)
                self._devices.pop(device_id, None)
        elif _spec(device) != _spec(self._devices.get(device_id)):
            self._devices[device_id] = device
            self._register(device_id)

    def _model_changed(self, operation: str, model_id: str, model: Json) -> None:
        reaches = self._reaches_mapper(model_id, (model.get("spec") or {}).get("protocol"))
        if operation != "delete":
            self._models[model_id] = model
        elif reaches:
            self._models.pop(model_id, None)

    def _register(self, device_id: str) -> None:
        """Have the mapper start a device, if its model is here (GetOverriddenDevice)."""
        device = self._devices[device_id]
        spec = device.get("spec") or {}
        model_name = (spec.get("deviceModelRef") or {}).get("name")
        model = self._models.get(self._id(device["metadata"]["namespace"], str(model_name)))
        if model is None:
            reason = "its model is not here" if model_name else "it names no model"
            self._emit("not registered", f"device/{device_id}", reason)
        elif self._reaches_mapper(device_id, _protocol_of_device(device)):
            self.mapper.register(device_id, device, model)

    def _id(self, namespace: str, name: str) -> str:
        """Return the id of a device or a model (GetResourceID in pkg/util)."""
        return f"{namespace}/{name}" if self._version.devices_have_namespaces else name

    def _reaches_mapper(self, subject: str, protocol: Any) -> bool:
        """Whether there is a mapper for a protocol: here there is one for each."""
        if not protocol:
            self._emit("not registered", subject, "there is no mapper for a nameless protocol")
        return bool(protocol)


def _protocol_of_device(device: Json) -> Any:
    return ((device.get("spec") or {}).get("protocol") or {}).get("protocolName")


def _spec(device: Json | None) -> Json | None:
    """Return a specification to compare, in which the order of names makes no difference."""
    if device is None:
        return None
    spec = dict(device.get("spec") or {})
    for listed in ("properties", "methods"):
        spec[listed] = sorted(spec.get(listed) or [], key=lambda each: each.get("name", ""))
    return spec
