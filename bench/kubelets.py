"""What edges of today cost a whole cloudcore: renewals of their leases, patches of their nodes.

A whole cloudcore runs with the embedded API server; the edges are in this process. CPU is that of
all processes of cloudcore, so that the write to the API is in it. Used by bench.cloudhub.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from bench.controllers import cloud, cpu_seconds, settled
from bench.rates import spent
from ipc import Message
from modules.common.pki import certificates
from modules.common.times import format_time, now
from modules.hollow import tls
from modules.hollow.link import FORMS, Link
from modules.hollow.store import Store
from modules.hollow.timing import Timing
from modules.hollow.v1_23 import status
from modules.hollow.v1_23.client import LEASES, Client
from modules.hollow.v1_23.lease import DURATION
from modules.hollow.v1_23.metamanager import MetaManager
from modules.hollow.v1_23.strategic import difference
from modules.hollow.versions import PROJECT_ID, VERSIONS

#: Calls per second, and seconds of each measurement.
RATE = 100
SECONDS = 10
#: Edges that connect at the same time.
DIALING = 16

Run = dict[str, tuple[float, str]]


class Kubelet:
    """An edge that calls when it is told to."""

    def __init__(self, node: str, server: str, context: ssl.SSLContext, kubeedge: str) -> None:
        version = VERSIONS[kubeedge]
        self._node = node
        self._version = version
        self.up = asyncio.Event()
        self.link = Link(
            f"{server}/{PROJECT_ID}/{node}/events",
            {"node_id": node, "project_id": PROJECT_ID, "ConnectionUse": "msg"},
            context,
            Timing(message_rate=1000, message_burst=1000),
            form=FORMS[version.generation],
            on_up=self.up.set,
            on_message=self._receive,
            emit=lambda *_: None,
        )
        self._meta = MetaManager(self.link, Store(), lambda *_: None, 60)
        self._client = Client(node, version, self._meta, lambda *_: None)
        self._lease: dict[str, Any] = {}
        self._known: dict[str, Any] = {}

    def _receive(self, message: Message) -> None:
        self._meta.handle(message)

    async def register(self) -> None:
        self._known = await self._client.create_node(status.initial_node(self._node, self._version))
        self._lease = await self._client.create_lease(
            {
                "metadata": {"name": self._node, "namespace": LEASES},
                "spec": {"holderIdentity": self._node, "leaseDurationSeconds": DURATION},
            }
        )

    async def renew(self) -> None:
        spec = self._lease["spec"] | {"renewTime": format_time(now(), "microseconds")}
        self._lease = await self._client.update_lease(self._lease | {"spec": spec})

    async def patch(self) -> None:
        """Patch the heartbeats of an unchanged status, and one condition that changed."""
        before = self._known["status"]
        under = any(each["status"] == "True" for each in before["conditions"][:1])
        pressures = () if under else ("MemoryPressure",)
        conditions = status.node_conditions(before["conditions"], pressures, ready=True)
        after = before | {"conditions": conditions}
        self._known = await self._client.patch_node({"status": difference(before, after)})


async def connect(kubelets: Sequence[Kubelet], tasks: asyncio.TaskGroup) -> list[Any]:
    room = asyncio.Semaphore(DIALING)

    async def one(kubelet: Kubelet) -> Any:
        async with room:
            running = tasks.create_task(kubelet.link.run())
            await kubelet.up.wait()
            await kubelet.register()
            return running

    return await asyncio.gather(*map(one, kubelets))


async def in_turns(calls: Sequence[Callable[[], Awaitable[None]]]) -> list[float]:
    """Make RATE calls per second, each edge in its turn; return their milliseconds."""

    async def timed(call: Callable[[], Awaitable[None]]) -> float:
        start = time.perf_counter()
        await call()
        return (time.perf_counter() - start) * 1e3

    began, made = time.monotonic(), []
    for number in range(RATE * SECONDS):
        ahead = began + number / RATE - time.monotonic()
        if ahead > 0:
            await asyncio.sleep(ahead)
        made.append(asyncio.create_task(timed(calls[number % len(calls)])))
    return await asyncio.gather(*made)


async def measure(nodes: int, kubeedge: str) -> Run:
    """Measure renewals and patches of that many edges."""
    found: Run = {}
    async with cloud() as (cloudcore, _), asyncio.TaskGroup() as tasks:
        pki = cloudcore.settings.data_dir / "pki"
        directory = cloudcore.settings.data_dir / "bench"
        directory.mkdir()
        certificates.write_node_files(directory, pki, certificates.issue_node(pki, "bench"))
        context, url = tls.from_directory(directory), await cloudcore.websocket_url()
        kubelets = [Kubelet(f"edge-{each}", url, context, kubeedge) for each in range(nodes)]
        links = await connect(kubelets, tasks)
        for what, calls in (
            ("lease renewal", [kubelet.renew for kubelet in kubelets]),
            ("node patch", [kubelet.patch for kubelet in kubelets]),
        ):
            for name in ("cloudhub", "edgecontroller", "apiserver"):
                await settled((await cloudcore.module(name))["pid"])
            before = await cpu_seconds(cloudcore)
            took = await in_turns(calls)
            cpu = spent(before, await cpu_seconds(cloudcore))
            found |= _figures(what, took, cpu)
        for link in links:
            link.cancel()
    return found


def _figures(what: str, took: list[float], cpu: dict[str, float]) -> Run:
    each = {name: seconds / len(took) * 1e6 for name, seconds in cpu.items()}
    middle = sorted(took)[len(took) // 2]
    return {
        f"CPU per {what}, its API write included": (sum(each.values()), "us"),
        f"CPU per {what}, in cloudhub": (each["cloudhub"], "us"),
        f"CPU per {what}, in edgecontroller": (each["edgecontroller"], "us"),
        f"CPU per {what}, in the API server": (each["apiserver"], "us"),
        f"{what} at {RATE}/s, p50": (middle, "ms"),
    }
