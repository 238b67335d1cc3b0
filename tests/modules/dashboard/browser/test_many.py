"""A thousand edges and many changes: what is drawn is what is seen, and what has changed."""

from __future__ import annotations

import re
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

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
            expect(page.locator("tbody tr")).to_have_count(100)
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
            expect(page.locator("tbody tr")).to_have_count(19)

            # An edge can have any name; a name is never markup.
            fleet.rows[HOSTILE] = row(HOSTILE)
            page.get_by_label("Name", exact=True).fill("<img")
            expect(page.get_by_role("row").nth(1)).to_contain_text(HOSTILE)
            expect(page.locator("main img")).to_have_count(0)
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


def test_the_overview_names_some_and_counts_all(tmp_path: Path, context: BrowserContext) -> None:
    with begin(tmp_path) as running:
        fleet = Fleet(1000)
        soon = {"common_name": "edge-0003", "expires": time.time() + 3 * 86400}
        fleet.rows["edge-0003"] = row("edge-0003", certificate=soon)
        with serving(fleet, tmp_path / "run" / "cloudhub.sock"):
            tab = Tab(running, context)
            tab.log_in()
            page = tab.page
            # There is no Kubernetes API: no edge has a Node, and that is said, too.
            expect(page.get_by_text("1 002 things need attention")).to_be_visible()
            expect(page.get_by_role("link", name="the certificate of edge-0003")).to_be_visible()
            expect(page.get_by_role("link", name="Access 1")).to_be_visible()
            expect(page.locator(".problems li")).to_have_count(8)
            page.get_by_role("link", name="995 more edges").click()
            expect(page.get_by_text("1 000 edges")).to_be_visible()
            expect(page.get_by_label("Only those that are not ready")).to_be_checked()

            # A page with filters can be sent to somebody.
            page.get_by_label("Name", exact=True).fill("0003")
            expect(page).to_have_url(re.compile(r"/edges\?name=0003&only=not-ready$"))
            page.reload()
            expect(page.get_by_text("1 of 1 000 edges")).to_be_visible()
            expect(page.get_by_label("Replica")).to_be_hidden()

            # With several cloudcores there is one filter more.
            fleet.rows["edge-0003"] = row("edge-0003", replica="east")
            fleet.rows["edge-0004"] = row("edge-0004", replica="west")
            page.get_by_label("Name", exact=True).fill("")
            page.get_by_label("Replica").select_option("west")
            expect(page.get_by_text("1 of 1 000 edges")).to_be_visible()
            expect(page.get_by_role("row").nth(1)).to_contain_text("west / cloudhub")
            assert not tab.complaints


def change(at: float, name: str, *states: str, kind: str = "edge", reason: str = "") -> Any:
    """Return the changes of one thing through some states, a second each."""
    return [
        {"at": at + number, "kind": kind, "name": name, "old": old, "new": new, "reason": reason}
        for number, (old, new) in enumerate(pairwise(states))
    ]


def test_changes_are_told_in_few_lines(tmp_path: Path, context: BrowserContext) -> None:
    with begin(tmp_path) as running:
        tab = Tab(running, context)
        tab.log_in()
        crash = change(1000, "cloudhub", "ready", "crashed", "backoff", kind="module", reason="why")
        start = change(1002, "cloudhub", "backoff", "starting", "ready", kind="module")
        later = change(1010, "cloudhub", "ready", "stopping", kind="module")
        lost = [each for name in "abcde" for each in change(1005, name, "ready", "disconnected")]
        other = change(1200, "f", "ready", "disconnected")
        changes = sorted([*crash, *start, *later, *lost, *other], key=lambda each: each["at"])
        found = tab.page.evaluate(
            "async (changes) => (await import('/assets/js/timeline.js')).fold(changes)", changes
        )
        assert [(each["names"], each["states"], each["reasons"]) for each in found] == [
            (["f"], ["ready", "disconnected"], []),
            (["cloudhub"], ["ready", "stopping"], []),
            ([*"abcde"], ["ready", "disconnected"], []),
            (["cloudhub"], ["ready", "crashed", "backoff", "starting", "ready"], ["why"]),
        ]
        assert not tab.complaints
