"""Makes the images of docs/images anew: `make screenshots`."""

from __future__ import annotations

import math
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

from playwright.sync_api import expect, sync_playwright

from modules.dashboard.history import History
from tests.modules.dashboard.browser.cloud import EDGES, cloud, kubectl
from tests.modules.dashboard.browser.tab import CHROMIUM, Tab
from tests.support.running import Running

IMAGES = Path(__file__).parents[4] / "docs" / "images"
#: The images: name, path of the page, a text that it shows, colours and width.
SHOTS = (
    ("overview-light", "/", "SIGKILL", "light", 1280),
    ("overview-dark", "/", "SIGKILL", "dark", 1280),
    ("overview-narrow", "/", "SIGKILL", "light", 400),
    ("modules-light", "/modules", "devicecontroller", "light", 1280),
    ("edges-light", "/edges", "plant-3", "light", 1280),
    ("edge-dark", "/edges/plant-1", "default/camera", "dark", 1280),
)
#: A device that needs attention.
ILL = """
apiVersion: devices.kubeedge.io/v1beta1
kind: Device
metadata: {name: pump, namespace: default}
spec: {nodeName: plant-2, deviceModelRef: {name: pump-of-1998}, protocol: {protocolName: modbus}}
"""
#: CPU in percent and MiB of each module in the hour before.
USED = {
    "dashboard": (0.6, 77),
    "apiserver": (2.5, 88),
    "cloudhub": (3.0, 87),
    "edgecontroller": (2.0, 84),
    "devicecontroller": (1.0, 83),
}
#: Milliseconds until the overview has noticed all.
NOTICED = 40_000


def write_history(path: Path) -> None:
    """Write an hour for the charts, which a cloudcore that has just begun does not have."""
    clock = SimpleNamespace(now=0.0)
    history = History(path, lambda: clock.now)
    now = time.time()
    for ago in range(3600, 30, -10):
        clock.now = now - ago
        wave = 1 + 0.5 * math.sin(ago / 300)
        usage = {
            name: (round(cpu * (wave + random.random() / 3), 1), int(mib * 2**20), 0.1 * wave)
            for name, (cpu, mib) in USED.items()
        }
        history.add(usage, EDGES - (1500 < ago < 1700), EDGES)
    history.write()


@contextmanager
def running_in(base: Path) -> Iterator[Running]:
    write_history(base / "dashboard" / "history.json")
    with cloud(base) as running:
        ill = base / "ill.yaml"
        ill.write_text(ILL)
        kubectl(running, "apply", "-f", str(ill))
        yield running


def main() -> None:
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as directory, running_in(Path(directory)) as running:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
            context = browser.new_context(viewport={"width": 1280, "height": 860})
            context.set_default_timeout(20_000)
            tab = Tab(running, context)
            tab.log_in()
            os.kill(running.module("edgecontroller")["pid"], signal.SIGKILL)
            tab.page.wait_for_timeout(NOTICED)
            for name, path, text, scheme, width in SHOTS:
                tab.page.set_viewport_size({"width": width, "height": 860})
                tab.page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
                page = tab.open(path)
                expect(page.get_by_role("main")).to_contain_text(text)
                page.wait_for_timeout(1500)  # the charts are drawn
                page.screenshot(path=IMAGES / f"{name}.png")
                print(f"docs/images/{name}.png")
            browser.close()


if __name__ == "__main__":
    if not CHROMIUM:
        sys.exit("make: no chromium is installed; on Debian and Ubuntu: apt install chromium")
    main()
