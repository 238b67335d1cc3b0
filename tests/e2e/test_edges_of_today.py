"""An edge of KubeEdge 1.15 to 1.23 beside a whole cloudcore with the embedded API server."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from modules.common.kube import (
    CONFIGMAPS,
    LEASES,
    NODES,
    PODS,
    SECRETS,
    KubeClient,
)
from modules.hollow import manifests
from modules.hollow.demo import observe
from modules.hollow.demo.harness import Cloudcore, running
from modules.hollow.edge import HollowEdge
from modules.hollow.timing import Timing
from modules.hollow.v1_23.join import CertManager

NODE = "edge-1"
POD = "default/pod/web"
TIMING = Timing(heartbeat=0.5, node_status=0.5, lease=0.5, pod_sync=0.5, start=0.1, query=3)
MODULES = ("apiserver", "cloudhub", "edgecontroller", "devicecontroller")


class Story:
    """One edge and its cloud."""

    def __init__(
        self, cloudcore: Cloudcore, api: KubeClient, edge: HollowEdge, certificates: CertManager
    ) -> None:
        self.cloudcore = cloudcore
        self.api = api
        self.edge = edge
        self.certificates = certificates

    async def node_is_ready(self) -> None:
        await observe.in_api(self.api, NODES, NODE, None, _is_ready)

    async def lease_is_renewed(self) -> None:
        seen: set[str] = set()

        def renewed(lease: Any) -> bool:
            seen.add(lease["metadata"]["resourceVersion"])
            return len(seen) > 1

        await observe.in_api(self.api, LEASES, NODE, "kube-node-lease", renewed)

    async def pod_runs(self) -> None:
        await self.api.create(CONFIGMAPS, manifests.configmap("settings", k="1"), "default")
        secret = {"metadata": {"name": "key", "namespace": "default"}, "stringData": {"k": "1"}}
        await self.api.create(SECRETS, secret, "default")
        made = manifests.pod("web", NODE, "settings")
        made["spec"]["volumes"] = [{"name": "key", "secret": {"secretName": "key"}}]
        await self.api.create(PODS, made, "default")
        await self.pod_is_running()

    async def pod_is_running(self) -> None:
        await observe.in_api(
            self.api, PODS, "web", "default", lambda pod: pod["status"]["phase"] == "Running"
        )
        await self.edge.wait_for(POD, lambda pod: pod["status"]["phase"] == "Running", 15)

    async def configmap_changes(self, value: str) -> None:
        await self.api.patch(CONFIGMAPS, "settings", {"data": {"k": value}}, "default")
        await self.configmap_is(value)

    async def configmap_is(self, value: str) -> None:
        await self.edge.wait_for(
            "default/configmap/settings", lambda found: found["data"] == {"k": value}, 30
        )

    async def kill(self, module: str) -> None:
        pid = (await self.cloudcore.module(module))["pid"]
        os.kill(pid, signal.SIGKILL)
        await self.cloudcore.wait_restarted(module, pid, 30)

    async def certificate_is_renewed(self) -> None:
        """Renew the certificate by means of itself, and connect with the new one."""
        before, connects = self.certificates.identity, self.edge.link.connects
        await self.certificates.renew()
        assert self.certificates.identity.certificate != before.certificate
        self.edge.link.use(self.certificates.identity.context())
        await self.edge.wait_until(
            lambda: self.edge.link.connects > connects, 15, "a connection with the new certificate"
        )

    async def pod_ends(self) -> None:
        await self.api.delete(PODS, "web", "default")
        await self.edge.wait_gone(POD, 15)
        await observe.gone_from_api(self.api, PODS, "web", "default")
        assert self.edge.edged.statuses == {}


def _is_ready(node: Any) -> bool:
    conditions = node["status"]["conditions"]
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


@asynccontextmanager
async def story(version: str) -> AsyncIterator[Story]:
    async with running() as cloudcore:
        await cloudcore.wait_ready(30)
        url = await cloudcore.websocket_url()
        certificates = await CertManager.join(
            NODE, await cloudcore.https_url(), await cloudcore.token()
        )
        async with (
            KubeClient.connect(cloudcore.settings, user_agent="test") as api,
            HollowEdge(NODE, url, certificates, kubeedge=version, timing=TIMING) as edge,
        ):
            yield Story(cloudcore, api, edge, certificates)


@pytest.mark.timeout(240)
@pytest.mark.parametrize("version", ["1.15", "1.20", "1.23"])
async def test_an_edge_is_ready_and_runs_a_pod_through_all_that_happens(version: str) -> None:
    async with story(version) as found:
        await found.node_is_ready()
        await found.pod_runs()
        await found.lease_is_renewed()
        for number, module in enumerate(MODULES):
            await found.kill(module)
            await found.configmap_changes(f"after {number}")
        await found.edge.restart()
        await found.configmap_changes("after the restart")
        await found.edge.restart(lose_database=True)
        await found.pod_is_running()
        await found.configmap_is("after the restart")
        await found.edge.wait_for("default/secret/key", timeout=15)
        await found.certificate_is_renewed()
        await found.lease_is_renewed()
        await found.node_is_ready()
        await found.pod_ends()
        await found.cloudcore.stop(15)
