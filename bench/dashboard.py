"""The cost of the dashboard: `make bench-dashboard` (needs chromium).

A cloudcore with the embedded API server, 1,000 hollow edges (bench/hollow.py) with a Node each, and
a tab of Chromium without a window that shows one page after the other. Half of the events per
second are edges that disconnect, the other half edges that connect again: each one is a change of
state, and a line of the log. What is measured is the CPU of the dashboard's process and of the
tab's (Chromium's renderer), and what browsers cost that read nothing of what they are sent.

    python -m bench.dashboard [--edges 1000] [--events 100] [--seconds 30]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from playwright.sync_api import Page, expect, sync_playwright

from bench.figures import Figure, publish, say
from bench.usage import running_time
from modules.common.kube import NODES, KubeClient
from modules.common.pki.certificates import issue_node, write_node_files
from modules.dashboard.access.links import LoginLinks
from supervisor import client
from supervisor.api import KubernetesSettings, Settings

SYSTEM = "cloudcore"
PAGES = {"overview": "/", "edges": "/edges", "events": "/events", "logs": "/logs"}
#: Seconds for which an edge stays away, and in which a page settles.
AWAY = 2.5
SETTLE = 6.0
#: Streams that are not read, and the bytes that the kernel takes for each.
STALLED = 30
RECEIVE = 4096


class Cloud:
    """A cloudcore in processes of its own."""

    def __init__(self, base: Path, edges: int) -> None:
        self.run_dir, self.data_dir = base / "run", base / "data"
        self._log = (base / "log").open("wb")
        sets = (
            'modules.enabled=["apiserver","cloudhub","dashboard"]',
            *("modules.apiserver.port=0", "modules.dashboard.port=0", "modules.cloudhub.port=0"),
            *('modules.cloudhub.address="127.0.0.1"', "modules.cloudhub.https=false"),
            *(f"modules.cloudhub.node_limit={edges}", "modules.cloudhub.rate_limit=0.0"),
            *(
                "modules.cloudhub.keepalive_interval=600.0",
                'modules.cloudhub.authorization="any-trusted"',
            ),
        )
        options = [part for each in sets for part in ("--set", each)]
        directories = ("--run-dir", str(self.run_dir), "--data-dir", str(self.data_dir))
        self._process = subprocess.Popen(
            (sys.executable, "-m", "supervisor", "run", *directories, *options),
            stdout=self._log,
            stderr=self._log,
        )

    def wait(self) -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                if all(each["state"] == "ready" for each in self.modules() if each["enabled"]):
                    return
            except (client.NotRunning, client.AdminError):
                pass
            time.sleep(0.1)
        raise SystemExit(f"cloudcore is not ready:\n{Path(self._log.name).read_text()[-4000:]}")

    def modules(self) -> list[dict[str, Any]]:
        status = client.request(self.run_dir / "admin.sock", "GET", "/status")
        modules: list[dict[str, Any]] = status["modules"]
        return modules

    def module(self, name: str) -> dict[str, Any]:
        return next(each for each in self.modules() if each["name"] == name)

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(30)
        self._log.close()


async def create_nodes(data_dir: Path, count: int) -> None:
    settings = Settings(
        data_dir, data_dir, KubernetesSettings(kubeconfig=str(data_dir / "kubeconfig"))
    )
    async with KubeClient.connect(settings, user_agent="bench") as kube:
        for number in range(count):
            made = await kube.create(NODES, node(f"edge-{number}"))
            await kube.replace(NODES, made | {"status": status()}, subresource="status")


def node(name: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "labels": {"node-role.kubernetes.io/edge": ""}}}


def status() -> dict[str, Any]:
    """Return the status of a Node that is ready, as large as that of a real edge."""
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    conditions = ("Ready", "MemoryPressure", "DiskPressure", "PIDPressure")
    return {
        "conditions": [
            {
                "type": kind,
                "status": "True" if kind == "Ready" else "False",
                "lastHeartbeatTime": now,
                "lastTransitionTime": now,
                "reason": "EdgeReady",
                "message": "edge is posting ready status",
            }
            for kind in conditions
        ],
        "addresses": [{"type": "InternalIP", "address": "10.1.2.3"}],
        "capacity": {"cpu": "4", "memory": "8Gi", "pods": "110", "ephemeral-storage": "64Gi"},
        "nodeInfo": {
            "kubeletVersion": "v1.32.10-kubeedge-v1.23.1",
            "osImage": "Debian GNU/Linux 12 (bookworm)",
            "architecture": "arm64",
        },
        "images": [
            {"names": [f"registry.example/team/image-{number}:v1.{number}"], "sizeBytes": 12345678}
            for number in range(20)
        ],
    }


class Edges:
    """Hollow edges in a process of their own."""

    def __init__(self, server: str, certs: Path, count: int) -> None:
        self._process = subprocess.Popen(
            (sys.executable, "-m", "bench.hollow", server, str(certs), "0", str(count)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def begin(self, **command: Any) -> None:
        assert self._process.stdin
        self._process.stdin.write(json.dumps(command).encode() + b"\n")
        self._process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        assert self._process.stdout
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    @contextmanager
    def churning(self, rate: float, seconds: float) -> Iterator[None]:
        """Have edges disconnect and connect again for some seconds."""
        if rate:
            self.begin(do="churn", rate=rate, seconds=seconds, away=AWAY)
        yield
        if rate:
            self.answer()

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()


class Bench:
    """What is measured: the dashboard's process, and that of a tab."""

    def __init__(self, cloud: Cloud, edges: Edges, options: argparse.Namespace) -> None:
        self._cloud = cloud
        self._edges = edges
        self._seconds = options.seconds
        self._events = options.events
        self._pid = cloud.module("dashboard")["pid"]
        self._address = cloud.module("dashboard")["details"]["listen"]["http"]
        self.figures: list[Figure] = []

    def run(self, browser_of: Any) -> None:
        self._case("nobody looks", self._events)
        self._figure("nobody looks", "memory of the module", self._memory(), "MiB")
        context = browser_of.new_context(viewport={"width": 1280, "height": 860})
        page = context.new_page()
        code = LoginLinks(self._cloud.run_dir).create()
        page.goto(f"http://{self._address}/login#{code}")
        expect(page.get_by_text("Live", exact=True)).to_be_visible()
        self._case("overview, nothing happens", 0, page, "/")
        for name, path in PAGES.items():
            self._case(name, self._events, page, path)
        self._figure("all pages were open", "memory of the module", self._memory(), "MiB")
        cookie = "; ".join(f"{each['name']}={each['value']}" for each in context.cookies())
        context.close()
        self._stalled(cookie)

    def _case(self, case: str, events: float, page: Page | None = None, path: str = "") -> None:
        say(f"{case}: {self._seconds:g} s")
        with self._edges.churning(events / 2, self._seconds + SETTLE):
            if page:
                page.goto(f"http://{self._address}{path}")
            time.sleep(SETTLE - AWAY)
            tabs = _renderers() if page else []
            before, tab_before, began = self._cpu(), _cpu_of(tabs), time.monotonic()
            time.sleep(self._seconds)
            share = 100 / (time.monotonic() - began)
            self._figure(case, "CPU of the module", (self._cpu() - before) * share, "%")
            if page:
                self._figure(case, "CPU of the tab", (_cpu_of(tabs) - tab_before) * share, "%")
                if path == PAGES["events"]:
                    shown = page.get_by_role("status").filter(has_text="event").inner_text()
                    self._figure(
                        case, "events shown", float("".join(filter(str.isdigit, shown))), ""
                    )
                used = page.evaluate("performance.memory.usedJSHeapSize")
                self._figure(case, "heap of the tab", used / 2**20, "MiB")

    def _stalled(self, cookie: str) -> None:
        """Open streams that nobody reads: what they cost, and when they are disconnected."""
        case = f"{STALLED} streams that are not read"
        say(case)
        before, began = self._memory(), time.monotonic()
        host, _, port = self._address.rpartition(":")
        request = (
            "GET /api/live?topics=status,edges,changes HTTP/1.1\r\n"
            f"Host: {self._address}\r\nCookie: {cookie}\r\n\r\n"
        )
        streams = []
        for _ in range(STALLED):
            stream = socket.socket()
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE)
            stream.connect((host, int(port)))
            stream.sendall(request.encode())
            streams.append(stream)
        while self._served(streams) < STALLED:
            time.sleep(0.1)
        most, lasted = 0.0, 0.0
        with self._edges.churning(self._events / 2, self._seconds + SETTLE):
            while (open_ := self._served(streams)) and lasted < 120:
                most = max(most, self._memory() - before)
                time.sleep(0.2)
                lasted = time.monotonic() - began
        if open_:
            raise SystemExit(f"{open_} of {case} are still open after {lasted:.0f} s")
        self._figure(case, "memory, at most", most, "MiB")
        self._figure(case, "disconnected after", lasted, "s")
        for stream in streams:
            stream.close()

    def _served(self, streams: list[socket.socket]) -> int:
        """Return how many of the streams the module still has open."""
        mine = {stream.getsockname()[1] for stream in streams}
        theirs = psutil.Process(self._pid).net_connections("tcp")
        return sum(bool(each.raddr) and each.raddr[1] in mine for each in theirs)

    def _figure(self, case: str, metric: str, value: float, unit: str) -> None:
        say(f"  {metric}: {value:.2f} {unit}")
        self.figures.append(Figure(case, SYSTEM, metric, round(value, 2), unit))

    def _cpu(self) -> float:
        return running_time(self._pid)

    def _memory(self) -> float:
        return float(psutil.Process(self._pid).memory_info().rss) / 2**20


def _renderers() -> list[int]:
    children = psutil.Process().children(recursive=True)
    return [each.pid for each in children if "--type=renderer" in each.cmdline()]


def _cpu_of(pids: list[int]) -> float:
    return sum(running_time(pid) for pid in pids)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--edges", type=int, default=1000)
    parser.add_argument("--events", type=float, default=100.0, help="per second")
    parser.add_argument("--seconds", type=float, default=30.0, help="for each page")
    options = parser.parse_args()
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if not chromium:
        raise SystemExit("no chromium is installed; on Debian and Ubuntu: apt install chromium")
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with tempfile.TemporaryDirectory() as name:
        base = Path(name)
        cloud = Cloud(base, options.edges)
        edges = None
        try:
            cloud.wait()
            say(f"{options.edges} edges and Nodes")
            asyncio.run(create_nodes(cloud.data_dir, options.edges))
            certs = base / "certs"
            certs.mkdir()
            pki = cloud.data_dir / "pki"
            write_node_files(certs, pki, issue_node(pki, "edge-0"))
            server = cloud.module("cloudhub")["details"]["listen"]["websocket"]
            edges = Edges(f"wss://{server}", certs, options.edges)
            edges.begin(do="connect", rate=200)
            if failures := edges.answer()["failures"]:
                raise SystemExit(f"{len(failures)} edges cannot connect: {failures[0]}")
            bench = Bench(cloud, edges, options)
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(
                    executable_path=chromium,
                    args=["--no-sandbox", "--enable-precise-memory-info"],
                )
                bench.run(browser)
                browser.close()
        finally:
            if edges:
                edges.stop()
            cloud.stop()
    how = f"{options.edges} edges, {options.events:g} events/s, {options.seconds:g} s for each page"
    publish("dashboard", how, bench.figures)


if __name__ == "__main__":
    main()
