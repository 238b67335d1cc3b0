"""The types of all fields of Device and DeviceModel of v1alpha1."""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec

from modules.common.kube import DEVICEMODELS, DEVICES
from modules.devicecontroller.schemas import shape_by_schema

_EXCEPTIONS: Final[dict[str, Any]] = {
    # Read field by field: a device that names no node gets the condition NoNode.
    "nodeSelector": Any,
    # Written by this module, and not sent to any node.
    "reported": dict[str, Any],
    # Go's []byte: base64, or numbers as people write it.
    "dataWrite": dict[str, list[Annotated[int, msgspec.Meta(ge=0, le=255)]] | bytes | None],
}


# Built on import, which the supervisor does once, before it forks the module's processes.
DEVICE: Final = shape_by_schema(DEVICES, _EXCEPTIONS)
MODEL: Final = shape_by_schema(DEVICEMODELS, _EXCEPTIONS)
