"""Fixture: a cluster of KubeEdge to take over, in the embedded API server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from modules.common.kube import KubeClient
from modules.common.pki.certificates import Pki
from modules.takeover.check.subject import Subject
from supervisor.api import KubernetesSettings, Settings
from tests.modules.takeover.cluster import SELECTOR, Cluster
from tests.support.apiserver import embedded_apiserver
from tests.support.checking import command


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
            strict=True,
            selector=SELECTOR,
            command=command,
        )
        async with KubeClient.connect(subject.settings) as api:
            yield Cluster(api, subject)
