"""A complete cloudcore that is one of several: it can be killed, stopped, frozen and cut off."""

from __future__ import annotations

import os
import signal
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Final

import psutil
import yaml

from modules.hollow.demo.harness import Cloudcore, running
from tests.support.forwarder import Forwarder

#: Seconds of the Leases, and without a keepalive until an edge is disconnected.
LEASE: Final = 3.0
KEEPALIVE: Final = 5.0
_READY: Final = 90.0


class Replica:
    """One of the cloudcores, whose data and addresses stay while its processes come and go."""

    def __init__(self, name: str, base: Path, kubeconfig: Path, options: tuple[str, ...]) -> None:
        """Set up; `kubeconfig` leads to the API, and `options` are further ones of `run`."""
        self.name = name
        self.cloudcore: Cloudcore
        self.runs = False
        """Whether a load balancer leads edges to it."""
        self.network = Forwarder(_port_in(kubeconfig))
        """to the API"""
        self.front = Forwarder(0)
        """from edges"""
        self._base = base / name
        self.is_open = False
        self._api = kubeconfig
        self._options = options
        self._networks = AsyncExitStack()
        self._life = AsyncExitStack()
        self._lives = 0

    async def open(self) -> None:
        """Make its networks, and the kubeconfig with which it gets through to the API."""
        self.is_open = True
        self._base.mkdir()
        for each in (self.network, self.front):
            await self._networks.enter_async_context(each.running())
        own = self._api.read_text().replace(f":{self.network.target}", f":{self.network.port}")
        self._kubeconfig.touch(0o600)
        self._kubeconfig.write_text(own)

    def successor(self) -> Replica:
        """Return the replica that a Deployment would put into its place."""
        return Replica(f"{self.name}-next", self._base.parent, self._api, self._options)

    @property
    def _kubeconfig(self) -> Path:
        return self._base / "kubeconfig"

    async def launch(self) -> None:
        """Start its processes, which are not ready yet."""
        log = self._base / "log"
        with suppress(FileNotFoundError):
            log.rename(log.with_name(f"log.{self._lives}"))
        self._lives += 1
        self.cloudcore = await self._life.enter_async_context(
            running(
                *("--set", f"kubernetes.kubeconfig={self._kubeconfig}"),
                *("--set", "replicas.enabled=true"),
                *("--set", f"replicas.name={self.name}"),
                *("--set", f"replicas.lease_duration={LEASE}"),
                *("--set", 'replicas.address="127.0.0.1"'),
                *("--set", "replicas.port=0"),
                *("--set", 'modules.edgecontroller.record="objectsync"'),
                *("--set", 'modules.devicecontroller.record="objectsync"'),
                *("--set", f"modules.cloudhub.keepalive_interval={KEEPALIVE}"),
                *self._options,
                base=self._base,
            )
        )

    async def ready(self) -> None:
        """Wait until it is ready, and lead edges to it."""
        await self.cloudcore.wait_ready(_READY)
        self.front.target = int((await self.cloudcore.websocket_url()).rpartition(":")[2])
        self.runs = True

    def signal(self, number: int) -> None:
        """Send a signal to all its processes."""
        supervisor = psutil.Process(self.cloudcore.process.pid)
        for process in (*supervisor.children(recursive=True), supervisor):
            with suppress(ProcessLookupError):
                os.kill(process.pid, number)

    async def kill(self) -> None:
        """End all its processes at once, and have nobody answer at its address."""
        self.runs = False
        self.signal(signal.SIGKILL)
        self.front.target = 0
        await self._life.aclose()

    async def stop(self) -> None:
        """Stop it in order; CloudcoreError if that takes too long or fails."""
        self.runs = False
        await self.cloudcore.stop(30)
        self.front.target = 0
        await self._life.aclose()

    async def close(self) -> None:
        """End it, whatever its state, and its networks."""
        if self._lives and self.cloudcore.process.returncode is None:
            self.signal(signal.SIGCONT)
        self.network.mend()
        await self._life.aclose()
        await self._networks.aclose()

    async def nodes_held(self) -> int:
        held: int = (await self.cloudcore.module("cloudhub"))["details"]["nodes_held"]
        return held

    def log(self, lines: int = 40) -> str:
        return f"{self.name}:\n{self.cloudcore.log_tail(lines)}"


def _port_in(kubeconfig: Path) -> int:
    server: str = yaml.safe_load(kubeconfig.read_text())["clusters"][0]["cluster"]["server"]
    return int(server.rpartition(":")[2])
