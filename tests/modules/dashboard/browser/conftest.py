"""A real browser, Debian's Chromium without a window, in front of a real cloudcore."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from modules.dashboard.access.links import LoginLinks
from tests.modules.dashboard.conftest import begin
from tests.support.running import Running
from tests.support.waiting import block_until

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
#: Milliseconds for what a page is to show, on a busy machine.
expect.set_options(timeout=20_000)

EDGES = 6
PODS = ("camera", "broker", "dashboard")
DEVICES = """
apiVersion: devices.kubeedge.io/v1beta1
kind: DeviceModel
metadata: {name: thermometer, namespace: default}
spec:
  protocol: modbus
  properties:
  - {name: temperature, type: FLOAT, accessMode: ReadOnly}
  - {name: target, type: FLOAT, accessMode: ReadWrite}
---
apiVersion: devices.kubeedge.io/v1beta1
kind: Device
metadata: {name: boiler, namespace: default}
spec:
  nodeName: plant-1
  deviceModelRef: {name: thermometer}
  protocol: {protocolName: modbus}
  properties:
  - {name: temperature, visitors: {protocolName: modbus}}
  - {name: target, desired: {value: "21.5"}, visitors: {protocolName: modbus}}
"""


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """A browser for the tests of a file: its driver has an event loop, of which there is one."""
    if not CHROMIUM:
        pytest.skip("no chromium is installed: apt install chromium")
    with sync_playwright() as playwright:
        # As root there is no sandbox; the pages are our own.
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def cloud(base: Path) -> Iterator[Running]:
    """Run all modules and some edges with pods and a device."""
    sets = tuple(
        f"modules.{key}"
        for key in (
            *("apiserver.port=0", "cloudhub.port=0", "cloudhub.https_port=0"),
            *('cloudhub.address="127.0.0.1"', "devicecontroller.install_crds=true"),
        )
    )
    modules = ("apiserver", "cloudhub", "edgecontroller", "devicecontroller")
    with begin(base, *modules, sets=sets) as running, edges(running):
        objects = base / "devices.yaml"
        objects.write_text(DEVICES)
        block_until(
            lambda: kubectl(running, "get", "nodes", "-o", "name").count("plant-") == EDGES,
            "edges",
            0.2,
        )
        kubectl(running, "apply", "-f", str(objects))
        for name in PODS:
            spec = json.dumps({"spec": {"nodeName": "plant-1"}})
            kubectl(running, "run", name, "--image=nginx", f"--overrides={spec}")
        yield running


@contextmanager
def edges(running: Running) -> Iterator[None]:
    """Connect the edges, as `cloudcore hollow` does."""
    server = running.module("cloudhub")["details"]["listen"]["websocket"]
    options = ("--server", f"wss://{server}", "--data-dir", str(running.base))
    command = (sys.executable, "-m", "supervisor", "hollow", "plant", "--count", str(EDGES))
    with (running.base / "edges.log").open("wb") as log:
        process = subprocess.Popen((*command, *options), stdout=log, stderr=log)
    try:
        yield
    finally:
        process.terminate()
        process.wait(20)


def kubectl(running: Running, *arguments: str) -> str:
    program = Path(sys.executable).parent / "kubectl"
    config = running.base / "kubeconfig"
    done = subprocess.run(
        [program, "--kubeconfig", config, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    return done.stdout


class Tab:
    """One tab of a browser that has logged in, and what its console said."""

    def __init__(self, running: Running, context: BrowserContext) -> None:
        self.running = running
        self.page: Page = context.new_page()
        self.complaints: list[str] = []
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", self._note)
        listening = running.module("dashboard")["details"]["listen"]
        self.origin = f"http://{listening['http']}"

    def _note(self, message: Any) -> None:
        if message.type in {"error", "warning"}:
            self.complaints.append(message.text)

    def log_in(self) -> None:
        self.page.goto(f"{self.origin}/login#{LoginLinks(self.running.base / 'run').create()}")
        self.page.wait_for_url(f"{self.origin}/")
        expect(self.page.get_by_text("Live", exact=True)).to_be_visible()

    def open(self, path: str) -> Page:
        self.page.goto(f"{self.origin}{path}")
        expect(self.page.get_by_role("heading", level=1)).to_be_visible()
        return self.page


@pytest.fixture
def context(chromium: Browser) -> Iterator[BrowserContext]:
    context = chromium.new_context()
    context.set_default_timeout(20_000)
    yield context
    context.close()
