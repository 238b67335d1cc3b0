"""Twin messages: the desired and the reported values of a device's properties.

The structs are those of cloud/pkg/devicecontroller/types/device.go, the flows those of
controller/downstream.go (`createDevice`, `addUpdatedTwins`, `addDeletedTwins`) and upstream.go.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

import msgspec

from modules.common.kube import Object
from modules.devicecontroller.edge_messages import TwinVersion, TypeMetadata, Value, event, read
from modules.devicecontroller.v1alpha1.device import Desired

DELETED: Final = "deleted"
"""the type of a property that a device no longer has"""


def expected(
    desired: Mapping[str, Desired], dropped: Mapping[str, str], version: int, now: int
) -> Object:
    """Return all twins of a device; `dropped` are its former properties with their values.

    The edge rejects a cloud version older than the one it has, so `version` is the object's
    resourceVersion.
    """
    gone = {name: Desired(value, DELETED) for name, value in dropped.items()}
    return {
        name: {
            "expected": {"value": wanted.value, "metadata": {"timestamp": now}},
            "optional": False,
            "metadata": {"type": wanted.type},
            "expected_version": {"cloud": version, "edge": 0},
        }
        for name, wanted in (gone | dict(desired)).items()
    }


def cloud_updated(
    desired: Mapping[str, Desired], dropped: Mapping[str, str], version: int, now: int
) -> Object:
    """Return the content of `device/{id}/twin/cloud_updated`."""
    return event(now) | {"twin": expected(desired, dropped, version, now)}


class TwinReport(NamedTuple):
    """The reported value of one property; `timestamp` is the edge's clock in milliseconds."""

    value: str
    timestamp: int | None
    type: str | None
    edge_version: int

    def as_reported(self) -> Object:
        """Return it as `status.twins[].reported`, with the metadata of upstream.go."""
        metadata = {}
        if self.timestamp is not None:
            metadata["timestamp"] = str(self.timestamp)
        if self.type is not None:
            metadata["type"] = self.type
        return {"value": self.value, "metadata": metadata}


class _Twin(msgspec.Struct):
    actual: Value | None = None
    metadata: TypeMetadata | None = None
    actual_version: TwinVersion | None = None


class _Update(msgspec.Struct):
    twin: dict[str, _Twin | None] | None = None


def reports(content: object) -> dict[str, TwinReport]:
    """Return the reports in the content of `device/{id}/twin/edge_updated`, by property.

    Properties without an actual value are omitted. Raises BadObject if the content is malformed.
    """
    update = read(content, _Update)
    return {
        name: _report(twin, twin.actual, twin.actual.value)
        for name, twin in (update.twin or {}).items()
        if twin and twin.actual and twin.actual.value is not None
    }


def _report(twin: _Twin, actual: Value, value: str) -> TwinReport:
    return TwinReport(
        value,
        actual.metadata.timestamp if actual.metadata else None,
        twin.metadata.type if twin.metadata else None,
        twin.actual_version.edge if twin.actual_version else 0,
    )
