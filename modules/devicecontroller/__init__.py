"""DeviceController: synchronizes devices between the Kubernetes API and the edge nodes.

Importing this package is cheap, because the supervisor does it to learn the module's name.

    Device, DeviceModel --reflectors--> Inventory --> NodeSync --> cloudhub --> edge
                                             |            (membership, twins)
                                             +--> ProfileWriter --> ConfigMaps
    edge --> cloudhub --> Upstream --> StatusWriter --> Device status
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from modules.devicecontroller.config import DeviceControllerConfig
from supervisor.api import Check, Module, ModuleContext, Problem, Settings

__all__ = ["DeviceController"]


class DeviceController(Module):
    """The module `devicecontroller` (cloud/pkg/devicecontroller/module.go)."""

    name = "devicecontroller"
    preload = ("uvloop", "modules.devicecontroller.controller")
    group = "devicecontroller"
    Config = DeviceControllerConfig

    async def start(self, context: ModuleContext) -> None:
        """Synchronize devices until asked to stop."""
        from modules.devicecontroller.controller import run

        await run(context, self.config, self.settings)

    @classmethod
    def problems(cls, config: Any, settings: Settings) -> Sequence[Problem]:
        """Check the kubeconfig and the files that it names, and what replicas need."""
        from modules.common.sync.record_problems import record_problems

        found = record_problems(cls.name, config.record, settings)
        if not settings.kubernetes.configured:
            return found  # the embedded API server writes its own at its start
        from modules.common.kube.checking import check_kubernetes

        return [*check_kubernetes(settings), *found]

    @classmethod
    def checks(
        cls, config: Any, settings: Settings, command: Callable[..., str]
    ) -> Sequence[Check]:
        from modules.devicecontroller.checks import checks

        return checks(config, settings, command)
