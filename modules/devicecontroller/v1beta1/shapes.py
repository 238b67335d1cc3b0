"""The types of all fields of Device, DeviceModel and DeviceStatus of v1beta1."""

from __future__ import annotations

from typing import Any, Final

from modules.common.kube import DEVICEMODELS_V1BETA1, DEVICES_V1BETA1, DEVICESTATUSES
from modules.devicecontroller.schemas import shape_by_schema

#: In place of what the schema leaves open for objects of v1alpha1.
_OF_MODELS: Final[dict[str, Any]] = {"type": str}

# Built on import, which the supervisor does once, before it forks the module's processes.
DEVICE: Final = shape_by_schema(DEVICES_V1BETA1, {})
MODEL: Final = shape_by_schema(DEVICEMODELS_V1BETA1, _OF_MODELS)
STATUS: Final = shape_by_schema(DEVICESTATUSES, {})
