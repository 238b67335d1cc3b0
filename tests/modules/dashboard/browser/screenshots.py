"""Makes the images of docs/images anew: `make screenshots`."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import expect, sync_playwright

from tests.modules.dashboard.browser.cloud import cloud
from tests.modules.dashboard.browser.tab import CHROMIUM, Tab

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
#: Milliseconds in which the charts get something to show.
CHARTS = 60_000


def main() -> None:
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as directory, cloud(Path(directory)) as running:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
            context = browser.new_context(viewport={"width": 1280, "height": 860})
            context.set_default_timeout(20_000)
            tab = Tab(running, context)
            tab.log_in()
            os.kill(running.module("edgecontroller")["pid"], signal.SIGKILL)
            tab.page.wait_for_timeout(CHARTS)
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
