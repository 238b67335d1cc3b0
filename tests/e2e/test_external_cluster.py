"""With a cluster configured, the same walk through the same client, and no embedded API server."""

from __future__ import annotations

from dataclasses import replace

import pytest

from modules.hollow.demo.harness import running
from modules.hollow.demo.walk import walking
from supervisor.api import KubernetesSettings


@pytest.mark.timeout(90)
async def test_the_walk_with_another_cluster_s_kubeconfig() -> None:
    async with running("--set", 'modules.enabled=["apiserver"]') as cluster:
        await cluster.wait_ready(30)
        kubeconfig = str(cluster.settings.data_dir / "kubeconfig")
        async with running("--set", f"kubernetes.kubeconfig={kubeconfig}") as cloudcore:
            kubernetes = KubernetesSettings(kubeconfig=kubeconfig)
            cloudcore.settings = replace(cloudcore.settings, kubernetes=kubernetes)
            async with walking(cloudcore) as walk:
                await walk.take()
            embedded = await cloudcore.module("apiserver")
            assert (embedded["state"], embedded["pid"]) == ("disabled", None)
            assert not (cloudcore.settings.data_dir / "apiserver.db").exists()
            await cloudcore.stop(15)
