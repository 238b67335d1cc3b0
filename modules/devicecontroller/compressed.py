"""The devices of one of several replicas, of either API version, each compressed.

Each replica has all of them: the leader looks after the devices of all nodes, and a node that comes
may be sent any of its own. A compressed device takes as little as an outline with what the leader
needs, and never has to be read.
"""

from __future__ import annotations

import sys
import zlib
from typing import Any, Final, Self

import msgspec

from modules.common.kube import Object

#: What is not compressed of the metadata: with the time, which of several has a name is known.
_METADATA: Final = ("namespace", "name", "uid", "resourceVersion", "creationTimestamp")

#: The fastest; slower levels save 4 % of a device.
_LEVEL: Final = 1

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class CompressedDevice(dict[str, Any]):
    """A device with its identity and its conditions; all else is compressed.

    It answers by itself what is asked of all devices; `decompress` returns the others.
    """

    __slots__ = ("_compressed", "digest", "model", "node", "protocol")
    node: str
    """the node that it names; empty if it names none"""
    model: str
    """the name of the model that it names; empty if it names none"""
    protocol: str
    """the name of its protocol, by which an edge of today finds its mapper; empty if it has none"""
    digest: str
    """of what makes a difference to its edge, as the API version has it"""
    _compressed: bytes

    @classmethod
    def of(cls, device: Object, *, node: str, model: str, protocol: str = "", digest: str) -> Self:
        """Compress a device as the store of a single cloudcore has it."""
        metadata = device["metadata"]
        made = cls(metadata={field: metadata[field] for field in _METADATA if field in metadata})
        if conditions := (device.get("status") or {}).get("conditions"):
            made["status"] = {"conditions": conditions}
        # Several devices have the same.
        made.node, made.model, made.protocol = map(sys.intern, (node, model, protocol))
        made.digest = digest
        made._compressed = zlib.compress(_encode(device), _LEVEL)
        return made

    def decompress(self) -> Object:
        """Return the device as it was before it was compressed."""
        return _decode(zlib.decompress(self._compressed))


def decompressed(device: Object) -> Object:
    """Return a device as it is sent and written, whether or not it is compressed."""
    return device.decompress() if isinstance(device, CompressedDevice) else device
