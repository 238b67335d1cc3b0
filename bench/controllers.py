"""The controllers at scale: first sync, pods to the edges, statuses and twins to the API.

A whole cloudcore runs, with the embedded API server; 500 edges are in a process of their own, and
this process makes the load. All share the machine's cores. cloudcore's CPU time is that of all its
processes except the API server; the Go figures (measured earlier on another 2-core machine, with
kube-apiserver and etcd) are those of the one Go process.

    python -m bench.controllers [--runs 3] [--only sync|pods|statuses|twins]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import uvloop
from prometheus_client.parser import text_string_to_metric_families

from bench.edges import device_of
from bench.figures import Figure, median, publish, say
from bench.rates import ours, percentile, raise_rate, spent
from bench.usage import running_time
from modules.common.kube import (
    CONFIGMAPS,
    DEVICEMODELS_V1BETA1,
    DEVICES_V1BETA1,
    DEVICESTATUSES,
    NODES,
    PODS,
    KubeClient,
)
from modules.common.pki import certificates
from modules.common.wire import generations
from modules.hollow import manifests
from modules.hollow.demo.harness import Cloudcore, running
from supervisor import client as admin
from supervisor.api import KubernetesSettings

OURS, GO = "cloudcore", "Go 1.1.0"
EDGES = 500
NODES_OF_EDGES = [f"edge-{number}" for number in range(EDGES)]
PODS_SENT, POD_RATE = 2000, 100.0
SYNC = {"pods": 10_000, "nodes": 1_000, "configmaps": 5_000}
WRITERS = 16

OPTIONS = (
    *("--set", "kubernetes.qps=100000"),
    *("--set", "kubernetes.burst=100000"),
    *("--set", "modules.cloudhub.node_limit=2000"),
    *("--set", "modules.cloudhub.authorization=any-trusted"),
)


class EdgeProcess:
    """bench.edges in a process of its own."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def ask(self, *command: Any) -> Any:
        assert self._process.stdin
        self._process.stdin.write(json.dumps(command).encode() + b"\n")
        return await self.answer()

    async def answer(self) -> Any:
        assert self._process.stdout
        return json.loads(await self._process.stdout.readline())


@asynccontextmanager
async def edges(
    data_dir: Path, url: str, generation: str = generations.V1_1
) -> AsyncIterator[EdgeProcess]:
    """Connect EDGES edges, all with one certificate of the `pki` in that directory."""
    directory, pki = data_dir / "bench", data_dir / "pki"
    directory.mkdir()
    certificates.write_node_files(directory, pki, certificates.issue_node(pki, "bench"))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.edges", url, directory, "edge", str(EDGES), generation),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=2**26,
    )
    try:
        made = EdgeProcess(process)
        assert await made.answer() == "connected"
        yield made
    finally:
        process.kill()
        await process.wait()


async def at_once(calls: Iterable[Callable[[], Awaitable[Any]]]) -> None:
    """Make calls, up to WRITERS at the same time."""
    waiting = iter(calls)

    async def work() -> None:
        for call in waiting:
            await call()

    await asyncio.gather(*(work() for _ in range(WRITERS)))


@asynccontextmanager
async def cloud(*options: str) -> AsyncIterator[tuple[Cloudcore, KubeClient]]:
    async with running(*OPTIONS, *options) as cloudcore:
        await cloudcore.wait_ready(60)
        settings = replace(cloudcore.settings, kubernetes=KubernetesSettings(qps=0))
        async with KubeClient.connect(settings, user_agent="bench") as api:
            yield cloudcore, api


async def create_nodes(api: KubeClient, names: Iterable[str]) -> None:
    await at_once(partial(api.create, NODES, manifests.node(name)) for name in names)


def pids_of(status: dict[str, Any]) -> dict[str, int]:
    """Return the processes of a cloudcore: the supervisor and the modules."""
    return {module["name"]: module["pid"] for module in status["modules"]} | {
        "supervisor": status["pid"]
    }


async def cpu_seconds(cloudcore: Cloudcore) -> dict[str, float]:
    """Return the CPU time so far of each process."""
    return {name: running_time(pid) for name, pid in pids_of(await cloudcore.status()).items()}


def api_requests(cloudcore: Cloudcore, module: str = "") -> float:
    """Return the requests to the API so far, of one module or of all; a watch is one."""
    text = admin.text(cloudcore.settings.run_dir / "admin.sock", "/metrics")
    return sum(
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "cloudcore_kube_api_requests_total"
        and module in {"", sample.labels["module"]}
    )


# ------------------------------------------------------------------------ the cases


async def sync() -> dict[str, float]:
    """Kill EdgeController among many objects, and measure until its replacement is ready."""
    async with cloud() as (cloudcore, api):
        nodes = [f"node-{number}" for number in range(SYNC["nodes"])]
        await create_nodes(api, nodes)
        configmaps = [f"config-{number}" for number in range(SYNC["configmaps"])]
        await at_once(
            partial(api.create, CONFIGMAPS, manifests.configmap(name, data="x" * 1000), "default")
            for name in configmaps
        )
        placed = (
            manifests.pod(
                f"pod-{number}", nodes[number % len(nodes)], configmaps[number % len(configmaps)]
            )
            for number in range(SYNC["pods"])
        )
        await at_once(partial(api.create, PODS, pod, "default") for pod in placed)
        socket = cloudcore.settings.run_dir / "admin.sock"
        before = await cloudcore.module("edgecontroller")
        await settled(before["pid"])
        began = time.perf_counter()
        os.kill(before["pid"], signal.SIGKILL)
        while True:
            modules = admin.request(socket, "GET", "/status")["modules"]
            after = next(each for each in modules if each["name"] == "edgecontroller")
            if after["state"] == "ready" and after["pid"] != before["pid"]:
                break
            await asyncio.sleep(0.005)
        took = time.perf_counter() - began
        process = psutil.Process(after["pid"])
        times, memory = process.cpu_times(), process.memory_info().rss
        await settled(after["pid"])
        return {
            "kill to ready": took,
            "CPU": times.user + times.system,
            "resident when ready": memory / 2**20,
            "resident when settled": process.memory_info().rss / 2**20,
        }


async def settled(pid: int) -> None:
    """Wait until a process is nearly idle."""
    process = psutil.Process(pid)
    while True:
        before = sum(process.cpu_times()[:2])
        await asyncio.sleep(1)
        if sum(process.cpu_times()[:2]) - before < 0.05:
            return


async def create_pods(api: KubeClient) -> tuple[dict[str, int], dict[str, int]]:
    """Create pods at a steady rate; return when each was sent, and when the API had answered."""
    created: dict[str, int] = {}
    answered: dict[str, int] = {}

    async def create(resource: str, made: Any) -> None:
        created[resource] = time.time_ns()
        await api.create(PODS, made, "default")
        answered[resource] = time.time_ns()

    began = time.perf_counter()
    creating = []
    for number in range(PODS_SENT):
        pause = began + number / POD_RATE - time.perf_counter()
        if pause > 0:
            await asyncio.sleep(pause)
        name = f"pod-{number}"
        made = manifests.plain_pod(name, NODES_OF_EDGES[number % EDGES])
        creating.append(asyncio.create_task(create(f"default/pod/{name}", made)))
    await asyncio.gather(*creating)
    await asyncio.sleep(1)
    return created, answered


def until_arrived(arrived: dict[str, int], since: dict[str, int]) -> list[float]:
    """Return the milliseconds until each created pod arrived."""
    if missing := since.keys() - arrived.keys():
        raise SystemExit(f"{len(missing)} pods did not arrive, such as {min(missing)}")
    return [(arrived[name] - at) / 1e6 for name, at in since.items()]


async def pods() -> dict[str, float]:
    """Create pods at a steady rate, and measure when each arrives at its edge."""
    async with cloud() as (cloudcore, api):
        await create_nodes(api, NODES_OF_EDGES)
        url = await cloudcore.websocket_url()
        async with edges(cloudcore.settings.data_dir, url) as there:
            for name in ("cloudhub", "edgecontroller", "devicecontroller"):
                await settled((await cloudcore.module(name))["pid"])
            before = await cpu_seconds(cloudcore)
            created, answered = await create_pods(api)
            cpu = spent(before, await cpu_seconds(cloudcore))
            arrived = await there.ask("arrivals")
        took, after_answer = until_arrived(arrived, created), until_arrived(arrived, answered)
        print({name: round(each / PODS_SENT * 1e6) for name, each in cpu.items()})
        return {
            "create to arrival, p50": percentile(took, 0.5),
            "create to arrival, p99": percentile(took, 0.99),
            "API's answer to arrival, p50": percentile(after_answer, 0.5),
            "CPU per pod": ours(cpu) / PODS_SENT * 1e6,
            "API server's CPU per pod": cpu["apiserver"] / PODS_SENT * 1e6,
        }


async def statuses() -> dict[str, float]:
    """Raise the rate of node statuses until answers are late."""
    async with cloud() as (cloudcore, api):
        await create_nodes(api, NODES_OF_EDGES)
        url = await cloudcore.websocket_url()
        async with edges(cloudcore.settings.data_dir, url) as there:
            await settled((await cloudcore.module("edgecontroller"))["pid"])
            return await raise_rate(there, "status", partial(cpu_seconds, cloudcore))


async def twins() -> dict[str, float]:
    """Raise the rate of twin reports of devices of v1beta1 until answers are late."""
    async with cloud() as (cloudcore, api):
        await create_nodes(api, NODES_OF_EDGES)
        await create_devices(api)
        url = await cloudcore.websocket_url()
        async with edges(cloudcore.settings.data_dir, url, generations.V1_23) as there:
            await devices_arrived(there)
            await settled((await cloudcore.module("devicecontroller"))["pid"])
            figures = await raise_rate(there, "twin", partial(cpu_seconds, cloudcore))
            await check_twins(there, api)
            return figures


async def create_devices(api: KubeClient) -> None:
    """Create a device of v1beta1 for each edge, and their model."""
    await api.create(DEVICEMODELS_V1BETA1, manifests.device_model_v1beta1(), "default")
    made = (manifests.device_v1beta1(device_of(node), node, "ON") for node in NODES_OF_EDGES)
    await at_once(partial(api.create, DEVICES_V1BETA1, device, "default") for device in made)


async def devices_arrived(there: EdgeProcess) -> None:
    """Wait until each edge has its device."""
    missing = {f"default/device/{device_of(node)}" for node in NODES_OF_EDGES}
    async with asyncio.timeout(120):
        while missing:
            missing -= (await there.ask("arrivals")).keys()
            await asyncio.sleep(0.25)


async def check_twins(there: EdgeProcess, api: KubeClient) -> None:
    """Check that the API has what each device has reported last."""
    reported = await there.ask("last_reports")
    page = await api.list(DEVICESTATUSES, "default")
    written = {
        status["metadata"]["name"]: status["status"]["twins"][0]["reported"]["value"]
        for status in page.items
    }
    if differing := [name for name, value in reported.items() if written.get(name) != value]:
        raise SystemExit(f"{len(differing)} reports were not written, such as {differing[0]}'s")


UNITS = {
    "kill to ready": "s",
    "CPU": "s",
    "resident when ready": "MiB",
    "resident when settled": "MiB",
    "create to arrival, p50": "ms",
    "create to arrival, p99": "ms",
    "API's answer to arrival, p50": "ms",
    "CPU per pod": "us",
    "API server's CPU per pod": "us",
    "at 100/s, p50": "ms",
    "at 100/s, p99": "ms",
    "at 100/s, CPU each": "us",
    "kept up with": "1/s",
}
CASES = {
    "sync": ("first sync: 10,000 pods, 1,000 nodes, 5,000 configmaps", sync),
    "pods": ("2,000 pods to 500 edges at 100/s", pods),
    "statuses": ("node statuses of 500 edges", statuses),
    "twins": ("twin reports of a device of v1beta1 at each of 500 edges", twins),
}
GO_FIGURES = [
    (CASES["pods"][0], "create to arrival, p50", 2.7),
    (CASES["pods"][0], "create to arrival, p99", 6.1),
    (CASES["pods"][0], "CPU per pod", 850.0),
    (CASES["statuses"][0], "at 100/s, p50", 6.5),
    (CASES["statuses"][0], "at 100/s, p99", 29.0),
    (CASES["statuses"][0], "at 100/s, CPU each", 1800.0),
    (CASES["statuses"][0], "kept up with", 300.0),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", choices=list(CASES))
    arguments = parser.parse_args()
    figures = []
    for case, (title, measure) in CASES.items():
        if arguments.only not in {None, case}:
            continue
        runs = []
        for number in range(arguments.runs):
            say(f"{title}: run {number + 1} of {arguments.runs}")
            runs.append(uvloop.run(measure()))
            say(str(runs[-1]))
        figures += [
            Figure(title, OURS, metric, median([run[metric] for run in runs]), UNITS[metric])
            for metric in runs[0]
        ]
        figures += [
            Figure(title, GO, metric, value, UNITS[metric])
            for of, metric, value in GO_FIGURES
            if of == title
        ]
    publish(
        "controllers",
        f"medians of {arguments.runs} runs; Go as measured before on another 2-core machine",
        figures,
    )


if __name__ == "__main__":
    main()
