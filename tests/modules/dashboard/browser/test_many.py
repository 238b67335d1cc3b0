"""A thousand edges and many changes: what is drawn is what is seen, and what has changed."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest
from playwright.sync_api import BrowserContext, expect

from tests.modules.dashboard.browser.fleet import Fleet, row, serving
from tests.modules.dashboard.browser.tab import Tab
from tests.modules.dashboard.cloudcore import begin

#: All modules and a browser start.
pytestmark = pytest.mark.timeout(180)

HOSTILE = "<img src=x onerror='window.pwned=1'>"


def test_a_thousand_edges(tmp_path: Path, context: BrowserContext) -> None:
    with begin(tmp_path) as running:
        fleet = Fleet(1000)
        with serving(fleet, tmp_path / "run" / "cloudhub.sock"):
            tab = Tab(running, context)
            tab.log_in()
            page = tab.open("/edges")
            expect(page.get_by_text("1 000 edges")).to_be_visible()
            assert page.locator("tbody tr").count() == 100
            expect(page.get_by_text("1 to 100 of 1 000")).to_be_visible()

            # One edge changes: its row is drawn anew, and no other.
            page.evaluate("""() => {
              window.touched = new Set();
              new MutationObserver((all) => {
                for (const { target, type } of all) {
                  const row = target.parentElement?.closest("tr") ?? target.closest?.("tr");
                  if (row && !(target.closest?.("time"))) window.touched.add(row);
                }
              }).observe(document.querySelector("tbody"), { subtree: true, childList: true });
            }""")
            fleet.rows["edge-0007"] = row("edge-0007", queue_messages=42)
            expect(page.get_by_role("row").filter(has_text="edge-0007")).to_contain_text("42")
            assert page.evaluate("window.touched.size") == 1

            page.get_by_role("button", name="Next").click()
            expect(page.get_by_role("row").nth(1)).to_contain_text("edge-0100")
            page.get_by_label("Name", exact=True).fill("99")
            expect(page.get_by_text("19 of 1 000 edges")).to_be_visible()
            assert page.locator("tbody tr").count() == 19

            # An edge can have any name; a name is never markup.
            fleet.rows[HOSTILE] = row(HOSTILE)
            page.get_by_label("Name", exact=True).fill("<img")
            expect(page.get_by_role("row").nth(1)).to_contain_text(HOSTILE)
            assert page.locator("main img").count() == 0
            assert page.evaluate("window.pwned") is None

            page.get_by_label("Name", exact=True).fill("edge-0007")
            del fleet.rows["edge-0007"]
            expect(page.get_by_text("No edge matches.")).to_be_visible()
            assert not tab.complaints


def test_many_pages_are_one_poll(tmp_path: Path, context: BrowserContext) -> None:
    with begin(tmp_path) as running:
        fleet = Fleet(1000)
        with serving(fleet, tmp_path / "run" / "cloudhub.sock"):
            tabs = [Tab(running, context) for _ in range(4)]
            tabs[0].log_in()
            for tab in tabs:
                page = tab.open("/edges")
                expect(page.get_by_text("1 000 edges")).to_be_visible()
            process = psutil.Process(running.module("dashboard")["pid"])
            asked, used = fleet.asked, sum(process.cpu_times()[:2])
            page.wait_for_timeout(10_000)
            assert fleet.asked - asked <= 3
            assert sum(process.cpu_times()[:2]) - used < 2.0
