"""An edge of today joins a running cloudcore as edgecore does, and uses its certificate."""

from __future__ import annotations

import asyncio
import base64
import os
import signal
import sys

import pytest

from modules.common.kube import SECRETS, KubeClient
from modules.common.kubeedge_secrets import NAMESPACE
from modules.hollow.demo.harness import Cloudcore, running
from tests.modules.cloudhub.edge import Edge
from tests.modules.cloudhub.joiner import Joiner, csr
from tests.support.waiting import eventually

NODE = "edge-1"


async def token(cloudcore: Cloudcore, *words: str) -> str:
    """Run `cloudcore token`."""
    asked = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "supervisor", "token", *words),
        *("--data-dir", str(cloudcore.settings.data_dir)),
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await asked.communicate()
    assert asked.returncode == 0
    return out.decode().strip()


async def ports(cloudcore: Cloudcore) -> dict[str, int]:
    listening = (await cloudcore.module("cloudhub"))["details"]["listen"]
    return {name: int(address.rpartition(":")[2]) for name, address in listening.items()}


async def connect(port: int, joiner: Joiner) -> None:
    """Connect to the websocket with the certificate, and leave again."""
    edge = Edge()
    path = f"/e632aba927ea4ac2b575ec1603d56f10/{NODE}/events"
    status = await edge.connect(port, joiner.tls(), path, {"node_id": NODE})
    assert status.startswith("HTTP/1.1 101 ")
    await edge.leave()


@pytest.mark.timeout(120)
async def test_an_edge_joins_connects_and_renews() -> None:
    async with running() as cloudcore:
        await cloudcore.wait_ready(60)
        port = await ports(cloudcore)
        joiner = Joiner(port["https"], await token(cloudcore, "create"))
        await joiner.get_ca()
        assert (await joiner.ask("GET", f"/node/{NODE}")).status == 404
        await joiner.join(NODE)
        await connect(port["websocket"], joiner)
        await joiner.renew(NODE)
        await connect(port["websocket"], joiner)

        # `keadm gettoken` finds a token that is good.
        async with KubeClient.connect(cloudcore.settings) as api:
            secret = await eventually(
                lambda: api.get(SECRETS, "tokensecret", NAMESPACE), lambda found: found is not None
            )
        default = base64.b64decode(secret["data"]["tokendata"]).decode()
        await Joiner(port["https"], default).join("edge-2")

        # A token that is revoked is so at once, and after the module was killed.
        await token(cloudcore, "revoke", joiner.token)
        for kill in (False, True):
            if kill:
                pid = (await cloudcore.module("cloudhub"))["pid"]
                os.kill(pid, signal.SIGKILL)
                await cloudcore.wait_restarted("cloudhub", pid, 60)
            again = Joiner(port["https"])
            await again.get_ca()
            shown = {"Authorization": f"Bearer {joiner.token.partition('.')[2]}", "NodeName": NODE}
            answered = await again.ask("GET", "/edge.crt", csr(NODE), shown)
            assert (answered.status, "revoked" in answered.text) == (401, True)
        await joiner.renew(NODE)
        text = cloudcore.log.read_text()
        for secret_part in (*joiner.token.split(".")[2:], *default.split(".")[2:]):
            assert secret_part not in text
