"""A cluster of KubeEdge to take over, in the embedded API server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from modules.common.kube import KubeClient
from modules.common.pki.certificates import Pki
from modules.takeover.check.sections import sections
from modules.takeover.check.subject import Subject
from modules.takeover.go_configuration import GoConfiguration
from supervisor.api import Finding, KubernetesSettings, Settings
from tests.support.apiserver import embedded_apiserver
from tests.support.checking import command, performed

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


@pytest.fixture
async def cluster(tmp_path: Path, pki: Pki) -> AsyncIterator[Cluster]:
    async with embedded_apiserver(tmp_path, pki) as (kubeconfig, _):
        data_dir = tmp_path / "data"
        kubernetes = KubernetesSettings(kubeconfig=str(kubeconfig), qps=0)
        subject = Subject(
            settings=Settings(data_dir, tmp_path, kubernetes),
            go=None,
            authority=Pki(data_dir / "pki").authority,
            has_files=False,
            names=("127.0.0.1", "localhost"),
            ports=(10000, 10002),
            is_told_of_cluster=True,
            records=True,
            records_devices=False,
            selector=SELECTOR,
            command=command,
        )
        async with KubeClient.connect(subject.settings) as api:
            yield Cluster(api, subject)


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
