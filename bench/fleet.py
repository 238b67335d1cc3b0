"""What a fleet of idle edges costs a whole cloudcore: `python -m bench.fleet`.

The edges are hollow ones of KubeEdge 1.23 in a process of their own, which keep their connection
alive, renew their Leases and patch their Nodes as often as edgecore does by default. Measured are
the time until all Nodes are Ready, and then memory and CPU of each process.

    python -m bench.fleet [--edges 500 1000] [--seconds 60]
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psutil

from bench.controllers import api_requests, cloud, cpu_seconds, pids_of
from bench.figures import Figure, publish, say
from bench.rates import spent
from modules.common.kube import NODES, KubeClient
from modules.hollow.demo.harness import Cloudcore

MIB = 1024 * 1024
#: Seconds in which all have to be Ready, and between two looks.
DEADLINE = 900.0
LOOK = 1.0


@asynccontextmanager
async def edges(cloudcore: Cloudcore, count: int) -> AsyncIterator[None]:
    """Run hollow edges that dial at once."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "supervisor", "hollow", "edge", "--count", str(count)),
        *("--server", await cloudcore.websocket_url()),
        *("--data-dir", str(cloudcore.settings.data_dir)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield
    finally:
        process.terminate()
        await process.wait()


def is_ready(node: Any) -> bool:
    conditions = node.get("status", {}).get("conditions", [])
    return any((each["type"], each["status"]) == ("Ready", "True") for each in conditions)


async def all_ready(api: KubeClient, count: int) -> None:
    async with asyncio.timeout(DEADLINE):
        while True:
            nodes = (await api.list(NODES)).items
            if sum(map(is_ready, nodes)) >= count:
                return
            await asyncio.sleep(LOOK)


async def measure(count: int, seconds: float) -> list[Figure]:
    """Measure that many edges for some seconds."""
    figures = []

    def note(metric: str, value: float, unit: str) -> None:
        say(f"  {metric}: {value:.1f} {unit}")
        figures.append(Figure(f"{count} edges", "cloudcore", metric, round(value, 1), unit))

    say(f"{count} edges")
    async with cloud("--set", f"modules.cloudhub.node_limit={count}") as (cloudcore, api):
        start = time.monotonic()
        before = await cpu_seconds(cloudcore)
        async with edges(cloudcore, count):
            await all_ready(api, count)
            note("all Nodes Ready after", time.monotonic() - start, "s")
            for name, cpu in spent(before, await cpu_seconds(cloudcore)).items():
                note(f"CPU until then, {name}", cpu, "s")
            await asyncio.sleep(seconds / 4)  # what follows a connect: certificates, first reports
            start, before = time.monotonic(), await cpu_seconds(cloudcore)
            made = api_requests(cloudcore, "edgecontroller")
            await asyncio.sleep(seconds)
            used = spent(before, await cpu_seconds(cloudcore))
            took = time.monotonic() - start
            # Fewer than a tenth of the edges: the machine has no time for the edges themselves.
            made = api_requests(cloudcore, "edgecontroller") - made
            note("requests to the API when idle", made / took, "1/s")
            for name, pid in pids_of(await cloudcore.status()).items():
                note(f"resident, {name}", psutil.Process(pid).memory_info().rss / MIB, "MiB")
                note(f"CPU when idle, {name}", used[name] / took * 100, "% of a core")
    return figures


async def run_all(counts: list[int], seconds: float) -> list[Figure]:
    return [figure for count in counts for figure in await measure(count, seconds)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--edges", type=int, nargs="+", default=[500, 1000], metavar="N")
    parser.add_argument("--seconds", type=float, default=60.0)
    options = parser.parse_args()
    figures = asyncio.run(run_all(options.edges, options.seconds))
    publish("fleet", "a whole cloudcore with idle edges of 1.23, single runs", figures)


if __name__ == "__main__":
    main()
