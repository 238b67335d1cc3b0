"""Cloudcore beside KubeEdge's own, in turns, with the same API server: pods, reports of devices.

500 edges in a process of their own, all on this machine; 2,000 pods at 100 a second, or twin
reports of a device of v1beta1 at each edge, at rising rates. CPU is that of all processes of the
cloudcore that is measured, while the pods are created or the reports are sent; it has the edges'
keepalives in it.

    python -m bench.beside_go --kubeconfig FILE --go PATH/cloudcore [--runs 3]
    python -m bench.beside_go --kubeconfig FILE --go PATH/cloudcore --generation v1.23
    python -m bench.beside_go --kubeconfig FILE --go PATH/cloudcore --generation v1.23 --case twins

The last two are for KubeEdge 1.23.1 and edges that speak JSON; the API server needs KubeEdge's
CRDs (reliablesyncs, devices of v1beta1, rules) and the namespace kubeedge then. FILE is for an API
server that has nothing else to do (docs/peers.md): the pods and devices in its namespace `default`
are deleted.
"""

from __future__ import annotations

import argparse
import asyncio
import socket
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import uvloop

from bench import controllers as bench
from bench.controllers import CASES, GO, OURS
from bench.controllers import UNITS as UNIT_OF
from bench.figures import Figure, compared, median, publish, say
from bench.rates import percentile, raise_rate, spent
from bench.usage import running_time
from modules.common.kube import (
    DEVICEMODELS_V1BETA1,
    DEVICES_V1BETA1,
    DEVICESTATUSES,
    NODES,
    PODS,
    KubeClient,
)
from modules.common.pki import certificates
from modules.common.wire import generations
from modules.hollow.demo.harness import running
from supervisor.api import KubernetesSettings, Settings

IDLE_CPU = "CPU with all edges idle"
UNITS = UNIT_OF | {IDLE_CPU: "ms/s"}
#: Seconds for which both are measured while idle.
IDLE = 10.0

CONTROLLER = """\
controller:
  kube: &kube
    master: ""
    namespace: ""
    content_type: "application/vnd.kubernetes.protobuf"
    qps: 100000
    burst: 100000
    node_update_frequency: 10
    kubeconfig: "{kubeconfig}"
cloudhub:
  protocol_websocket: true
  port: {port}
  protocol_quic: false
  enable_uds: false
  address: 127.0.0.1
  ca: {pki}/ca.crt
  cert: {pki}/server.crt
  key: {pki}/server.key
  keepalive-interval: 30
  write-timeout: 30
  node-limit: 2000
devicecontroller:
  kube: *kube
"""
CLOUDCORE = """\
apiVersion: cloudcore.config.kubeedge.io/v1alpha2
kind: CloudCore
commonConfig: {{monitorServer: {{bindAddress: "127.0.0.1:{monitor}"}}}}
kubeAPIConfig: {{kubeConfig: "{kubeconfig}", qps: 100000, burst: 100000}}
modules:
  cloudHub:
    advertiseAddress: ["127.0.0.1"]
    nodeLimit: 2000
    tlsCAFile: {pki}/ca.crt
    tlsCAKeyFile: {pki}/ca.key
    tlsCertFile: {pki}/server.crt
    tlsPrivateKeyFile: {pki}/server.key
    unixsocket: {{enable: true, address: "unix://{base}/hub.sock"}}
    websocket: {{enable: true, port: {port}, address: 127.0.0.1}}
    https: {{enable: true, port: {https}, address: 127.0.0.1}}
  dynamicController: {{enable: false}}
  router: {{enable: false}}
  iptablesManager: {{enable: false}}
"""
LOGGING = 'loggerLevel: "INFO"\nlogFormatText: true\nwriters: [stdout]\nloggerFile: "log"\n'
MODULES = "modules:\n  enabled: [devicecontroller, edgecontroller, cloudhub]\n"


class Died(Exception):
    """The Go process has exited on its own."""


@dataclass
class Cloud:
    """A running cloudcore: the address for edges, and its processes."""

    url: str
    data_dir: Path
    pids: dict[str, int]

    def cpu_seconds(self) -> dict[str, float]:
        return {name: running_time(pid) for name, pid in self.pids.items()}


@asynccontextmanager
async def ours(kubeconfig: Path) -> AsyncIterator[Cloud]:
    modules = 'modules.enabled=["cloudhub","edgecontroller","devicecontroller"]'
    options = ("--set", f"kubernetes.kubeconfig={kubeconfig}", "--set", modules)
    async with running(*bench.OPTIONS, *options) as cloudcore:
        status = await cloudcore.wait_ready(60)
        url = await cloudcore.websocket_url()
        yield Cloud(url, cloudcore.settings.data_dir, bench.pids_of(status))


def configure_1_1(base: Path, kubeconfig: Path, port: int) -> list[str]:
    """Write the configuration of KubeEdge 1.1 to `base`/conf; return the arguments."""
    (base / "conf").mkdir()
    controller = CONTROLLER.format(kubeconfig=kubeconfig, port=port, pki=base / "pki")
    files = {"controller": controller, "logging": LOGGING, "modules": MODULES}
    for file, text in files.items():
        (base / "conf" / f"{file}.yaml").write_text(text)
    return []


def configure_1_23(base: Path, kubeconfig: Path, port: int) -> list[str]:
    """Write the configuration of KubeEdge 1.23 to `base`; return the arguments."""
    ports = {"port": port, "https": free_port(), "monitor": free_port()}
    path = base / "cloudcore.yaml"
    path.write_text(CLOUDCORE.format(kubeconfig=kubeconfig, pki=base / "pki", base=base, **ports))
    return ["--config", str(path)]


@asynccontextmanager
async def go(binary: Path, kubeconfig: Path, generation: str) -> AsyncIterator[Cloud]:
    configure = configure_1_1 if generation == generations.V1_1 else configure_1_23
    with tempfile.TemporaryDirectory(prefix="cloudcore-go-") as name:
        base = Path(name)
        certificates.ensure_pki(base / "pki", [])
        port = free_port()
        arguments = configure(base, kubeconfig, port)
        environment = {"GOARCHAIUS_CONFIG_PATH": name, "HOME": name}
        with (base / "log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                binary, *arguments, stdout=log, stderr=log, cwd=base, env=environment
            )
        measuring = asyncio.current_task()
        assert measuring

        def died(_: asyncio.Future[int]) -> None:
            measuring.cancel()

        ended = asyncio.create_task(process.wait())
        ended.add_done_callback(died)
        try:
            await listening(port)
            yield Cloud(f"wss://127.0.0.1:{port}", base, {"cloudcore": process.pid})
        except asyncio.CancelledError:
            if not ended.done():
                raise
            measuring.uncancel()
            raise Died(last_words(base / "log")) from None
        finally:
            ended.remove_done_callback(died)
            if not ended.done():
                process.kill()
                await ended


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
        return port


async def listening(port: int) -> None:
    """Wait until a process accepts connections there."""
    async with asyncio.timeout(60):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except ConnectionRefusedError:
                await asyncio.sleep(0.1)
            else:
                writer.close()
                return


def last_words(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()
    return next((line for line in lines if line.startswith(("fatal error", "panic"))), lines[-1])


async def prepare(api: KubeClient) -> None:
    """Prepare the API server: a node for each edge, and no pods."""
    pods = [
        obj["metadata"]["name"] async for page in api.pages(PODS, "default") for obj in page.items
    ]
    await bench.at_once(partial(api.delete, PODS, name, "default", grace_period=0) for name in pods)
    known = {obj["metadata"]["name"] async for page in api.pages(NODES) for obj in page.items}
    await bench.create_nodes(api, (name for name in bench.NODES_OF_EDGES if name not in known))


async def measure_twins(
    system: AbstractAsyncContextManager[Cloud], kubeconfig: Path, generation: str
) -> dict[str, float]:
    async with client(kubeconfig) as api:
        await prepare(api)
        await prepare_devices(api)
        async with system as cloud, bench.edges(cloud.data_dir, cloud.url, generation) as there:
            await bench.devices_arrived(there)
            for pid in cloud.pids.values():
                await bench.settled(pid)

            async def cpu() -> dict[str, float]:
                return cloud.cpu_seconds()

            figures = await raise_rate(there, "twin", cpu)
            await bench.check_twins(there, api)
            return figures


async def prepare_devices(api: KubeClient) -> None:
    """Prepare the API server: new devices, whose statuses are empty."""
    for resource in (DEVICES_V1BETA1, DEVICEMODELS_V1BETA1, DEVICESTATUSES):
        names = [
            obj["metadata"]["name"]
            async for page in api.pages(resource, "default")
            for obj in page.items
        ]
        await bench.at_once(partial(api.delete, resource, name, "default") for name in names)
    await bench.create_devices(api)


def client(kubeconfig: Path) -> KubeClient:
    kubernetes = KubernetesSettings(kubeconfig=str(kubeconfig), qps=0)
    settings = Settings(data_dir=Path(), run_dir=Path(), kubernetes=kubernetes)
    return KubeClient.connect(settings, user_agent="bench")


async def measure_pods(
    system: AbstractAsyncContextManager[Cloud], kubeconfig: Path, generation: str
) -> dict[str, float]:
    async with client(kubeconfig) as api:
        await prepare(api)
        async with system as cloud, bench.edges(cloud.data_dir, cloud.url, generation) as there:
            for pid in cloud.pids.values():
                await bench.settled(pid)
            before = cloud.cpu_seconds()
            await asyncio.sleep(IDLE)
            idle = spent(before, before := cloud.cpu_seconds())
            created, _ = await bench.create_pods(api)
            arrived = await all_arrived(there, created)
            cpu = spent(before, cloud.cpu_seconds())
            took = bench.until_arrived(arrived, created)
    print({name: round(each / bench.PODS_SENT * 1e6) for name, each in cpu.items()})
    return {
        "create to arrival, p50": percentile(took, 0.5),
        "create to arrival, p99": percentile(took, 0.99),
        "CPU per pod": sum(cpu.values()) / bench.PODS_SENT * 1e6,
        IDLE_CPU: sum(idle.values()) / IDLE * 1e3,
    }


async def all_arrived(there: bench.EdgeProcess, created: dict[str, int]) -> dict[str, int]:
    """Wait for the pods, at most a minute: KubeEdge 1.23 has one message in flight to a node."""
    arrived: dict[str, int] = {}
    deadline = time.monotonic() + 60
    while created.keys() - arrived.keys() and time.monotonic() < deadline:
        arrived |= await there.ask("arrivals")
        await asyncio.sleep(0.25)
    return arrived


MEASURES = {"pods": measure_pods, "twins": measure_twins}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kubeconfig", type=Path, required=True)
    parser.add_argument("--go", type=Path, required=True, help="KubeEdge's cloudcore")
    parser.add_argument(
        "--generation",
        choices=[generations.V1_1, generations.V1_23],
        default=generations.V1_1,
        help="of that cloudcore (1.1.0 or 1.23.1) and of the edges",
    )
    parser.add_argument("--case", choices=list(MEASURES), default="pods")
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    kubeconfig, generation = arguments.kubeconfig.resolve(), arguments.generation
    theirs = GO if generation == generations.V1_1 else "Go 1.23.1"
    systems = {
        OURS: partial(ours, kubeconfig),
        theirs: partial(go, arguments.go.resolve(), kubeconfig, generation),
    }
    measure = MEASURES[arguments.case]
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in systems}
    for number in range(arguments.runs):
        for name, make in systems.items():
            say(f"{name}: run {number + 1} of {arguments.runs}")
            try:
                runs[name].append(uvloop.run(measure(make(), kubeconfig, generation)))
            except Died as died:
                say(f"{name} crashed: {died}")
            else:
                say(str(runs[name][-1]))
    case, _ = CASES[arguments.case]
    figures = [
        Figure(case, name, metric, median([run[metric] for run in made]), UNITS[metric])
        for name, made in runs.items()
        if made
        for metric in made[0]
    ]
    how = f"medians of {len(runs[OURS])} and {len(runs[theirs])} runs, in turns"
    of_case = "" if arguments.case == "pods" else f"-{arguments.case}"
    publish(f"beside-go-{generation}{of_case}", how, [*figures, *compared(figures, OURS)])


if __name__ == "__main__":
    main()
