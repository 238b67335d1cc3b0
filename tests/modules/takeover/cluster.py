"""A cluster of KubeEdge to take over, and the configuration of its cloudcore."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from modules.common.kube import KubeClient
from modules.takeover.check.sections import sections
from modules.takeover.check.subject import Subject
from modules.takeover.go_configuration import GoConfiguration
from supervisor.api import Finding
from tests.support.checking import performed

SELECTOR = "node-role.kubernetes.io/edge="


@dataclass
class Cluster:
    """The cluster, and what is checked in it; `change` changes the subject."""

    api: KubeClient
    subject: Subject

    def change(self, **fields: Any) -> None:
        self.subject = replace(self.subject, **fields)

    async def findings(self, section: str) -> list[Finding]:
        return await performed(sections(self.subject)[section])


def of_go(**hub: Any) -> GoConfiguration:
    """Return a configuration of KubeEdge whose certificate files do not exist."""
    files = dict.fromkeys(("tlsCAFile", "tlsCAKeyFile", "tlsCertFile", "tlsPrivateKeyFile"), "/no")
    return GoConfiguration(
        {
            "kind": "CloudCore",
            "kubeAPIConfig": {"kubeConfig": "/c"},
            "modules": {"cloudHub": {**files, **hub}, "iptablesManager": {"enable": False}},
        }
    )
