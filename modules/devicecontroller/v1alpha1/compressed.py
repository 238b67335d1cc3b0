"""The devices of one of several replicas, each compressed.

Each replica has all of them: an edge of KubeEdge 1.1 acknowledges nothing and is sent all of its
devices whenever it connects, and the leader writes the profiles of all nodes. A compressed device
takes as little as an outline with what the leader needs, and never has to be read.
"""

from __future__ import annotations

import hashlib
import sys
import zlib
from typing import Any, Final, Self

import msgspec

from modules.common.device_references import selected_node
from modules.common.kube import Object

#: What is not compressed of the metadata: with the time, which of several has a name is known.
_METADATA: Final = ("namespace", "name", "uid", "resourceVersion", "creationTimestamp")

#: The fastest; slower levels save 4 % of a device.
_LEVEL: Final = 1

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class CompressedDevice(dict[str, Any]):
    """A device with its identity, its conditions and whether it is seeded; all else is compressed.

    It answers by itself what is asked of all devices; `decompress` returns the others.
    """

    __slots__ = ("_compressed", "_digest", "model", "node")
    node: str
    """the node that it names; empty if it names none"""
    model: str
    """the name of the model that it names; empty if it names none"""
    _compressed: bytes
    _digest: bytes

    @classmethod
    def of(cls, device: Object) -> Self:
        """Compress a device as `keep_device` has reduced it."""
        metadata = device["metadata"]
        made = cls(metadata={field: metadata[field] for field in _METADATA if field in metadata})
        if conditions := device["status"]["conditions"]:
            made["status"] = {"conditions": conditions}
        if device.get("seeded"):
            made["seeded"] = True
        reference = device["spec"].get("deviceModelRef") or {}
        made.node = sys.intern(selected_node(device))  # several devices have the same
        made.model = sys.intern(reference.get("name") or "")
        made._compressed = zlib.compress(_encode(device), _LEVEL)
        made._digest = _digest(device)
        return made

    def decompress(self) -> Object:
        """Return the device as it was before it was compressed."""
        return _decode(zlib.decompress(self._compressed))

    def differs_in_values_alone(self, other: CompressedDevice) -> bool:
        """Whether two states of a device differ in no more than values of its twins.

        The conditions and the version may differ, too.
        """
        return self._digest == other._digest


def decompressed(device: Object) -> Object:
    """Return a device as it is sent and written, whether or not it is compressed."""
    return device.decompress() if isinstance(device, CompressedDevice) else device


def _digest(device: Object) -> bytes:
    reported = [twin["propertyName"] for twin in device["status"]["twins"] if "reported" in twin]
    rest = [device["spec"], device.get("applied"), reported]
    return hashlib.blake2b(_encode(rest), digest_size=16).digest()
