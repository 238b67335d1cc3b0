"""EdgeController: synchronizes nodes, pods, configmaps, secrets, services and endpoints.

It keeps edge nodes in sync with the Kubernetes API, as cloud/pkg/edgecontroller does.

    API --reflectors--> *EventHandler --> DueSet --> NodeUpdater --> cloudhub --> edge
    edge --> cloudhub --> Upstream --> MessageQueue --> a row of rows.py --> API
                                           +--> Answers --> cloudhub --> edge
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from modules.edgecontroller.config import EdgeControllerConfig
from supervisor.api import Check, Module, ModuleConfig, ModuleContext, Problem, Settings


class EdgeController(Module):
    """The module `edgecontroller`."""

    name: ClassVar[str] = "edgecontroller"
    group: ClassVar[str] = "edgecontroller"
    preload: ClassVar[tuple[str, ...]] = ("uvloop", "modules.edgecontroller.controller")
    Config: ClassVar[type[ModuleConfig]] = EdgeControllerConfig

    config: EdgeControllerConfig

    async def start(self, context: ModuleContext) -> None:
        from modules.edgecontroller.controller import run

        await run(self.config, self.settings, context)

    @classmethod
    def problems(cls, config: Any, settings: Settings) -> Sequence[Problem]:
        """Check the kubeconfig and the files that it names, and what replicas need."""
        from modules.common.sync.record_problems import record_problems

        found = record_problems(cls.name, config.record, settings)
        if not settings.kubernetes.configured:
            if settings.replicas.enabled:
                reason = "replicas share a cluster, and [kubernetes] names none"
                found.append(Problem("replicas.enabled", reason, "set kubernetes.kubeconfig"))
            return found  # the embedded API server writes its own kubeconfig at its start
        from modules.common.kube.checking import check_kubernetes

        return [*check_kubernetes(settings), *found]

    @classmethod
    def checks(
        cls, config: Any, settings: Settings, command: Callable[..., str]
    ) -> Sequence[Check]:
        from modules.edgecontroller.checks import checks

        return checks(config, settings, command)
