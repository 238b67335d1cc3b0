"""A tab of a real browser, Debian's Chromium without a window."""

from __future__ import annotations

import shutil
from typing import Any

from playwright.sync_api import BrowserContext, Page, expect

from modules.dashboard.access.links import LoginLinks
from tests.support.running import Running

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
#: Milliseconds for what a page is to show, on a busy machine.
expect.set_options(timeout=20_000)


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
