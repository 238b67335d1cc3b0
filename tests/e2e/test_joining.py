"""An edge of today joins a running cloudcore as edgecore does, and uses its certificate."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import sys
from contextlib import AsyncExitStack

import pytest

from modules.common.kube import SECRETS, KubeClient
from modules.common.kubeedge_secrets import NAMESPACE
from modules.hollow.demo.harness import Cloudcore, running
from tests.modules.cloudhub.edge import Edge
from tests.modules.cloudhub.joiner import Joiner, csr
from tests.support.waiting import eventually

NODE = "edge-1"
#: As many that each of two processes accepts some of them.
FLEET = tuple(f"edge-{number}" for number in range(12))


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


async def connected(port: int, joiner: Joiner, node: str = NODE) -> Edge:
    """Connect to the websocket with the certificate."""
    edge = Edge()
    path = f"/e632aba927ea4ac2b575ec1603d56f10/{node}/events"
    status = await edge.connect(port, joiner.tls(), path, {"node_id": node})
    assert status.startswith("HTTP/1.1 101 ")
    await edge.keepalive()
    return edge


async def connect(port: int, joiner: Joiner) -> None:
    """Connect as above, and leave again."""
    await (await connected(port, joiner)).leave()


async def holders(cloudcore: Cloudcore) -> dict[str, str]:
    """Return which process `cloudcore nodes` says that each edge is connected to."""
    asked = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "supervisor", "nodes", "-o", "json"),
        *("--run-dir", str(cloudcore.settings.run_dir)),
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await asked.communicate()
    return {row["node"]: row["process"] for row in json.loads(out)}


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


async def who_hold(cloudcore: Cloudcore, port: int, joiners: dict[str, Joiner]) -> set[str]:
    """Connect all edges at once; return which processes they are connected to."""
    async with AsyncExitStack() as stack:

        async def join(node: str) -> None:
            edge = await connected(port, joiners[node], node)
            stack.push_async_callback(edge.leave)

        await asyncio.gather(*map(join, joiners))
        held = await eventually(
            lambda: holders(cloudcore), lambda found: found.keys() == joiners.keys()
        )
        return set(held.values())


@pytest.mark.timeout(120)
async def test_edges_join_two_processes_that_have_one_ca() -> None:
    """One of them answers at the HTTPS port; the edges' certificates are good for both."""
    async with running("--set", "modules.cloudhub.processes=2") as cloudcore:
        await cloudcore.wait_ready(60)
        port = await ports(cloudcore)
        text = await token(cloudcore, "create")
        joiners = {node: Joiner(port["https"], text) for node in FLEET}
        await asyncio.gather(*(joiner.join(node) for node, joiner in joiners.items()))
        both = {"cloudhub", "cloudhub-2"}
        async with asyncio.timeout(60):
            while await who_hold(cloudcore, port["websocket"], joiners) != both:
                pass  # one of them had no CPU, and the other one has taken them all

        # The second one has no part in joining, and the first one is started again.
        for victim in ("cloudhub-2", "cloudhub"):
            pid = (await cloudcore.module(victim))["pid"]
            os.kill(pid, signal.SIGKILL)
            await Joiner(port["https"], text).join(f"edge-of-{victim}")
            await cloudcore.wait_restarted(victim, pid, 60)
            await joiners[NODE].renew(NODE)
            await connect(port["websocket"], joiners[NODE])
