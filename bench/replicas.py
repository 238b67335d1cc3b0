"""Several cloudcores on one API: what each of them takes, and how long a takeover takes.

With one, two and three replicas in turn: complete cloudcores on an embedded API server, and edges
of today, spread over them, which acknowledge what they get. All share the machine's cores, so that
throughput does not grow with replicas here; memory and requests are those of each replica.

    python -m bench.replicas [--edges 240] [--pods 2400] [--seconds 20] [--replicas 1 2 3]
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import psutil
import uvloop

from bench.controllers import (
    OPTIONS,
    EdgeProcess,
    api_requests,
    at_once,
    cpu_seconds,
    create_nodes,
    pids_of,
    settled,
)
from bench.figures import Figure, compared, percentile, publish, say
from bench.rates import ours, spent
from modules.common.kube import PODS, KubeClient
from modules.common.pki import certificates
from modules.common.wire import generations
from modules.hollow import manifests
from modules.hollow.demo.harness import Cloudcore, running
from supervisor.api import KubernetesSettings

#: Edges that dial per second when they move, so that they do not wait for one another's handshakes.
DIALS = 20.0
#: A figure and its unit.
Run = dict[str, tuple[float, str]]


@dataclass
class Group:
    """A replica, and the edges that dial it."""

    cloudcore: Cloudcore
    url: str
    nodes: list[str]
    edges: EdgeProcess


@dataclass
class Load:
    """How much of everything there is."""

    edges: int
    pods: int
    seconds: float


@asynccontextmanager
async def api_of(stack: AsyncExitStack) -> AsyncIterator[tuple[str, KubeClient]]:
    """Run an API server; yield its kubeconfig, and a client."""
    only = ("--set", 'modules.enabled=["apiserver"]')
    cluster = await stack.enter_async_context(running(*only))
    await cluster.wait_ready(60)
    kubeconfig = str(cluster.settings.data_dir / "kubeconfig")
    settings = replace(
        cluster.settings, kubernetes=KubernetesSettings(kubeconfig=kubeconfig, qps=0)
    )
    async with KubeClient.connect(settings, user_agent="bench") as api:
        yield kubeconfig, api


async def start(stack: AsyncExitStack, kubeconfig: str, count: int) -> list[Cloudcore]:
    """Start replicas, all at once."""
    made = [
        await stack.enter_async_context(
            running(
                *OPTIONS,
                *("--set", f"kubernetes.kubeconfig={kubeconfig}"),
                *("--set", "replicas.enabled=true"),
                *("--set", f"replicas.name=r{number}"),
                *("--set", 'replicas.address="127.0.0.1"'),
                *("--set", "replicas.port=0"),
                *("--set", 'modules.edgecontroller.record="objectsync"'),
                *("--set", 'modules.devicecontroller.record="objectsync"'),
            )
        )
        for number in range(count)
    ]
    for cloudcore in made:
        await cloudcore.wait_ready(120)
    return made


async def join(
    stack: AsyncExitStack, cloudcore: Cloudcore, number: int, count: int, certificate: Path
) -> Group:
    """Connect edges to a replica."""
    url, prefix = await cloudcore.websocket_url(), f"edge-{number}"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.edges", url, certificate, prefix, str(count)),
        generations.V1_23,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=2**26,
    )

    async def end() -> None:
        process.kill()
        await process.wait()

    stack.push_async_callback(end)
    made = EdgeProcess(process)
    assert await made.answer() == "connected"
    return Group(cloudcore, url, [f"{prefix}-{each}" for each in range(count)], made)


async def memory(cloudcores: Sequence[Cloudcore]) -> float:
    """Return the MiB of a replica, pages that its processes share counted once: the mean."""
    total = 0
    for cloudcore in cloudcores:
        pids = pids_of(await cloudcore.status()).values()
        total += sum(psutil.Process(pid).memory_full_info().pss for pid in pids if pid)
    return total / len(cloudcores) / 2**20


async def all_settled(cloudcores: Sequence[Cloudcore]) -> None:
    for cloudcore in cloudcores:
        for name, pid in pids_of(await cloudcore.status()).items():
            if pid and name != "supervisor":
                await settled(pid)


def requests(cloudcores: Sequence[Cloudcore]) -> float:
    """Return the requests to the API of all replicas so far, watches that begin included."""
    return sum(map(api_requests, cloudcores))


async def cpu_of(cloudcores: Sequence[Cloudcore]) -> dict[str, float]:
    """Return the CPU time so far of each module, of all replicas together."""
    total: dict[str, float] = {}
    for cloudcore in cloudcores:
        for name, seconds in (await cpu_seconds(cloudcore)).items():
            total[name] = total.get(name, 0.0) + seconds
    return total


async def create_pods(api: KubeClient, names: Sequence[str], nodes: Sequence[str]) -> None:
    """Create pods, as fast as the API takes them, on the nodes in turn."""
    made = (manifests.plain_pod(n, nodes[i % len(nodes)]) for i, n in enumerate(names))
    await at_once(partial(api.create, PODS, pod, "default") for pod in made)


async def arrived(groups: Sequence[Group], names: Sequence[str]) -> int:
    """Wait until these pods have arrived; return when the last one did."""
    missing, last = {f"default/pod/{name}" for name in names}, 0
    async with asyncio.timeout(300):
        while missing:
            for group in groups:
                for resource, at in (await group.edges.ask("arrivals")).items():
                    if resource in missing:
                        missing.discard(resource)
                        last = max(last, at)
            await asyncio.sleep(0.1)
    return last


async def measure(count: int, load: Load) -> Run:
    """Measure that many replicas."""
    async with AsyncExitStack() as stack:
        kubeconfig, api = await stack.enter_async_context(api_of(stack))
        say(f"starting {count} replicas")
        cloudcores = await start(stack, kubeconfig, count)
        await all_settled(cloudcores)
        empty = await memory(cloudcores)
        each = load.edges // count
        nodes = [f"edge-{number}-{i}" for i in range(each) for number in range(count)]
        await create_nodes(api, nodes)
        certificate = cloudcores[0].settings.data_dir / "bench"
        certificate.mkdir()
        pki = cloudcores[0].settings.data_dir / "pki"
        certificates.write_node_files(certificate, pki, certificates.issue_node(pki, "bench"))
        say(f"connecting {each} edges to each")
        groups = [
            await join(stack, cloudcore, number, each, certificate)
            for number, cloudcore in enumerate(cloudcores)
        ]
        await all_settled(cloudcores)
        connected = await memory(cloudcores)
        say(f"creating {load.pods} pods")
        first = [f"pod-{number}" for number in range(load.pods)]
        await create_pods(api, first, nodes)
        await arrived(groups, first)
        await all_settled(cloudcores)
        full = await memory(cloudcores)
        found: Run = {
            "memory of a replica without edges and pods": (empty, "MiB"),
            "memory of a replica": (full, "MiB"),
            "memory per edge of the replica": ((connected - empty) / each * 1024, "KiB"),
            "memory per pod of the fleet": ((full - connected) / load.pods * 1024, "KiB"),
        }
        found |= await idle(cloudcores, load.seconds)
        found |= await deliver(api, groups, nodes, load.pods)
        found |= await take_over(api, groups)
        return found


async def idle(cloudcores: Sequence[Cloudcore], seconds: float) -> Run:
    """Count requests to the API while nothing happens."""
    say(f"idle for {seconds:g} s")
    before, cpu = requests(cloudcores), await cpu_of(cloudcores)
    began = time.monotonic()
    await asyncio.sleep(seconds)
    made, took = requests(cloudcores) - before, time.monotonic() - began
    used = spent(cpu, await cpu_of(cloudcores))
    return {
        "idle: requests to the API, of all replicas": (made / took, "1/s"),
        "idle: CPU of all replicas": (ours(used) / took * 100, "% of a core"),
    }


async def deliver(
    api: KubeClient, groups: Sequence[Group], nodes: Sequence[str], count: int
) -> Run:
    """Create pods as fast as the API takes them, and see when the last one has arrived."""
    say(f"delivering {count} more pods")
    cloudcores = [group.cloudcore for group in groups]
    names = [f"timed-{number}" for number in range(count)]
    cpu, began = await cpu_of(cloudcores), time.time_ns()
    await create_pods(api, names, nodes)
    created = time.time_ns()
    last = await arrived(groups, names)
    await all_settled(cloudcores)
    used = spent(cpu, await cpu_of(cloudcores))
    return {
        "pods that the API took": (count / (created - began) * 1e9, "1/s"),
        "pods at their edges": (count / (last - began) * 1e9, "1/s"),
        "CPU per pod, of all replicas": (ours(used) / count * 1e6, "us"),
    }


async def take_over(api: KubeClient, groups: Sequence[Group]) -> Run:
    """Move the edges of the first replica to the last one; with one replica they dial it again."""
    moving, to = groups[0], groups[-1]
    say(f"moving {len(moving.nodes)} edges")
    await moving.edges.ask("hang_up")
    for node in moving.nodes:  # of each something has changed when it comes
        pods = await api.list(PODS, "default", field_selector=f"spec.nodeName={node}")
        name = pods.items[0]["metadata"]["name"]
        await api.patch(PODS, name, {"metadata": {"labels": {"moved": "yes"}}}, "default")
    took = await moving.edges.ask("dial", to.url, DIALS)
    return {
        f"from the dial to {what}, p{which}": (percentile(took[of], which), "ms")
        for of, what in (("first", "the first message"), ("pod", "what has changed"))
        for which in (50, 99)
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--edges", type=int, default=240)
    parser.add_argument("--pods", type=int, default=2400)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--replicas", type=int, nargs="+", default=[1, 2, 3])
    options = parser.parse_args()
    load = Load(options.edges, options.pods, options.seconds)
    figures = []
    for count in options.replicas:
        run = uvloop.run(measure(count, load))
        case = f"{load.edges} edges of 1.23, {load.pods} pods"
        system = f"{count} replica{'s' if count > 1 else ''}"
        for metric, (value, unit) in run.items():
            say(f"{system}: {metric}: {value:.1f} {unit}")
            figures.append(Figure(case, system, metric, round(value, 2), unit))
    figures += compared(figures, "1 replica")
    publish("replicas", "one run; all on one machine, with the API server and the edges", figures)


if __name__ == "__main__":
    main()
