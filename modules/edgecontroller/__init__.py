"""EdgeController: keeps edge nodes and the Kubernetes API in step (cloud/pkg/edgecontroller)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from modules.edgecontroller.config import EdgeControllerConfig
from supervisor.api import Module, ModuleConfig, ModuleContext, Problem, Settings


class EdgeController(Module):
    """Nodes, pods, configmaps, secrets, services down; statuses and queries up."""

    name: ClassVar[str] = "edgecontroller"
    group: ClassVar[str] = "edgecontroller"
    preload: ClassVar[tuple[str, ...]] = ("uvloop", "modules.edgecontroller.controller")
    Config: ClassVar[type[ModuleConfig]] = EdgeControllerConfig

    config: EdgeControllerConfig

    async def start(self, context: ModuleContext) -> None:
        from modules.edgecontroller.controller import run

        await run(self.config, self.settings, context)

    @classmethod
    def problems(cls, config: Any, settings: Settings) -> Sequence[Problem]:  # noqa: ARG003
        """Check the kubeconfig and the files that it names."""
        from modules.common.kube.checking import check_kubernetes

        return check_kubernetes(settings)
