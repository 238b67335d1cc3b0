"""What devices of both API versions are served with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from modules.common.kube import (
    Key,
    KubeClient,
    Object,
    Reflector,
    Resource,
    SetAside,
    WatchEvent,
)
from modules.devicecontroller.crds import Definitions
from supervisor.api import ModuleContext


@dataclass(frozen=True, eq=False)
class Dependencies:
    """What the controller has once, for devices of both versions."""

    client: KubeClient
    context: ModuleContext
    namespace: str | None
    """the one whose devices are served; None: all"""
    definitions: Definitions
    set_aside: SetAside
    known_nodes: dict[Key, Object]
    """those in the API, as `keep_version` reduces them"""
    on_change: Callable[[], None]
    """called after each change of a device or a model"""

    def reflect(
        self, resource: Resource, on_event: Callable[[WatchEvent], None], **options: Any
    ) -> Reflector:
        """Return the reflector of devices or models of a version."""
        return Reflector(
            self.client,
            resource,
            on_event,
            namespace=self.namespace,
            explain=self.definitions.explain,
            set_aside=self.set_aside,
            **options,
        )
