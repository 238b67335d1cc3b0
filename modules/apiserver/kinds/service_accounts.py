"""Rules of ServiceAccounts."""

from __future__ import annotations

from typing import Final

from modules.apiserver.meta import field_types
from modules.apiserver.meta.objects import Json
from modules.apiserver.meta.status import Cause

_SHAPE: Final = {
    "automountServiceAccountToken": "boolean",
    "imagePullSecrets": field_types.List({"name": "string"}),
    "secrets": field_types.List({"name": "string"}),
}


def validate(account: Json) -> list[Cause]:
    return list(field_types.faults(account, _SHAPE))
