"""The user of a request (user.Info of k8s.io/apiserver)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from modules.apiserver.meta.objects import Json

#: The group whose members may do everything.
ADMINISTRATORS = "system:masters"


@dataclass(frozen=True)
class User:
    """A user whose credentials have been verified."""

    name: str
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: Mapping[str, list[str]] = field(default_factory=dict)

    @property
    def administrator(self) -> bool:
        return ADMINISTRATORS in self.groups

    def info(self) -> Json:
        """Return authentication.k8s.io/v1 UserInfo."""
        fields = {
            "username": self.name,
            "uid": self.uid,
            "groups": list(self.groups),
            "extra": dict(self.extra),
        }
        return {name: value for name, value in fields.items() if value}
