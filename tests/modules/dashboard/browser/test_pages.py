"""Each page, each verb and each mishap, as an operator sees it."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, expect

from ipc import DeadLetterBox, Message
from ipc.message import encode
from tests.modules.dashboard.browser.cloud import EDGES, cloud
from tests.modules.dashboard.browser.tab import Tab
from tests.modules.dashboard.cloudcore import begin
from tests.support.running import Running

#: All modules and a browser start.
pytestmark = pytest.mark.timeout(180)

HOSTILE = "<img src=x onerror='window.pwned=1'>"
#: The rules of axe-core that depend on the colours.
OF_COLOURS = {"runOnly": ["color-contrast", "link-in-text-block"]}
PAGES = {
    "/": "All is well",
    "/modules": "devicecontroller",
    "/edges": "plant-3",
    "/edges/plant-1": "default/camera",
    "/devices": "default/boiler",
    "/events": "starting",
    "/crashes": "No module has crashed.",
    "/dead-letters": "No message was set aside.",
    "/logs": "node plant-0",
    "/access": "server-rsa",
}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with cloud(tmp_path_factory.mktemp("cloud")) as running:
        yield running


@pytest.fixture(scope="module")
def cookies(running: Running, chromium: Browser) -> Any:
    """Log in once."""
    context = chromium.new_context()
    context.set_default_timeout(20_000)
    Tab(running, context).log_in()
    found = context.cookies()
    context.close()
    return found


@pytest.fixture
def tab(running: Running, context: BrowserContext, cookies: Any) -> Iterator[Tab]:
    context.add_cookies(cookies)
    tab = Tab(running, context)
    yield tab
    assert not tab.complaints


@pytest.mark.parametrize("path", PAGES)
def test_each_page_shows_what_it_is_for_and_everybody_can_use_it(tab: Tab, path: str) -> None:
    page = tab.open(path)
    expect(page.locator("main")).to_contain_text(PAGES[path])
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    page.emulate_media(color_scheme="dark")
    found = Axe().run(page, options=OF_COLOURS)
    assert found.violations_count == 0, found.generate_report()
    page.set_viewport_size({"width": 360, "height": 740})
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= 360, f"{path} is {width} wide on a narrow screen"


def test_a_link_logs_in_once_and_without_login_there_is_the_login_page(
    running: Running, context: BrowserContext
) -> None:
    tab = Tab(running, context)
    page = tab.page
    page.goto(f"{tab.origin}/modules")
    expect(page).to_have_url(f"{tab.origin}/login")
    assert Axe().run(page).violations_count == 0
    tab.log_in()
    page.get_by_role("button", name="Log out").click()
    expect(page).to_have_url(f"{tab.origin}/login")
    page.goto(f"{tab.origin}/login#used-already")
    expect(page.get_by_role("status")).to_contain_text("the link was used already")
    page.get_by_text("Log in with the admin token").click()
    page.get_by_label("The token in the file").fill((running.base / "token").read_text())
    page.get_by_role("button", name="Log in").click()
    expect(page).to_have_url(f"{tab.origin}/")
    assert [text for text in tab.complaints if "403" not in text] == []


def test_an_address_that_is_none_says_so(tab: Tab) -> None:
    page = tab.open("/nothing")
    expect(page.locator("main")).to_contain_text("There is no page at /nothing")
    page = tab.open("/edges/nobody")
    expect(page.locator("main")).to_contain_text("there is no edge 'nobody'")
    expect(page.locator("main .state")).to_have_count(0)
    tab.open("/access")  # nothing is asked for any more
    assert all("404" in text for text in tab.complaints)
    tab.complaints.clear()


def test_the_verbs_of_a_module_ask_first(tab: Tab) -> None:
    page = tab.open("/modules")
    part = page.get_by_role("region", name="devicecontroller", exact=True)
    before = tab.running.module("devicecontroller")["pid"]
    page.get_by_role("button", name="Restart devicecontroller").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Restart devicecontroller?")
    expect(dialog.get_by_role("button", name="Cancel")).to_be_focused()
    assert Axe().run(page).violations_count == 0
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    assert tab.running.module("devicecontroller")["pid"] == before
    for verb, state in (
        ("Restart", "ready"),
        ("Stop", "stopped"),
        ("Start", "ready"),
        ("Disable", "disabled"),
        ("Enable", "ready"),
    ):
        page.get_by_role("button", name=f"{verb} devicecontroller", exact=True).click()
        dialog.get_by_role("button", name=verb, exact=True).click()
        expect(dialog).to_have_count(0)
        expect(part.locator(".module-head .state")).to_have_text(state)
    assert tab.running.module("devicecontroller")["pid"] != before
    page.get_by_role("button", name="Reload configuration").click()
    dialog.get_by_role("button", name="Reload", exact=True).click()
    expect(page.get_by_text("Reloaded")).to_be_visible()


def test_a_verb_that_fails_says_why_and_can_be_tried_again(tab: Tab) -> None:
    page = tab.open("/modules")
    page.route("**/api/modules/**", lambda route: route.abort())
    page.get_by_role("button", name="Restart cloudhub").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Restart").click()
    expect(dialog.get_by_role("alert")).to_contain_text("does not answer")
    expect(dialog.get_by_role("button", name="Restart")).to_be_enabled()
    tab.complaints.clear()


def test_a_module_is_killed_while_one_looks(tab: Tab) -> None:
    page = tab.open("/")
    expect(page.get_by_text("All is well")).to_be_visible()
    os.kill(tab.running.module("devicecontroller")["pid"], signal.SIGKILL)
    expect(page.locator(".timeline")).to_contain_text("killed by SIGKILL")
    expect(page.get_by_text("All is well")).to_be_visible()
    page.get_by_role("link", name="Crash reports").click()
    page.get_by_role("row").filter(has_text="SIGKILL").get_by_role("link").click()
    expect(page.get_by_role("main")).to_contain_text("killed by SIGKILL")
    expect(page.get_by_role("main")).to_contain_text("Last lines of output")


def test_a_module_that_is_suspended_is_not_well(tab: Tab) -> None:
    page = tab.open("/")
    expect(page.get_by_text("All is well")).to_be_visible()
    pid = tab.running.module("devicecontroller")["pid"]
    os.kill(pid, signal.SIGSTOP)
    try:
        expect(page.locator(".problems")).to_contain_text(f"process {pid} is suspended")
    finally:
        os.kill(pid, signal.SIGCONT)
    expect(page.get_by_text("All is well")).to_be_visible()


def test_the_dashboard_is_killed_while_one_looks(tab: Tab) -> None:
    page = tab.open("/")
    expect(page.get_by_text("Live", exact=True)).to_be_visible()
    tab.page.context.set_offline(True)  # for new connections: it would be back too soon
    os.kill(tab.running.module("dashboard")["pid"], signal.SIGKILL)
    expect(page.get_by_text("The dashboard does not answer")).to_be_visible()
    tab.page.context.set_offline(False)
    expect(page.get_by_text("The dashboard does not answer")).to_be_hidden()
    expect(page.get_by_text("Live", exact=True)).to_be_visible()
    expect(page.locator(".brief-module")).to_have_count(5)
    tab.complaints.clear()  # of the browser, about the connection


def test_hostile_texts_are_texts(tab: Tab) -> None:
    box = DeadLetterBox(tab.running.base / "dead-letters")
    message = Message.build(HOSTILE, "b", HOSTILE, HOSTILE, {"text": HOSTILE})
    letter = box.put("devicecontroller", encode(message), deliveries=3, reason=HOSTILE)
    page = tab.open("/dead-letters")
    expect(page.get_by_role("main")).to_contain_text(HOSTILE)
    tab.open(f"/dead-letters/{letter.id}")
    expect(page.get_by_role("main")).to_contain_text(HOSTILE)
    page.get_by_role("button", name=re.compile("Drop")).click()
    page.get_by_role("dialog").get_by_role("button", name="Drop").click()
    expect(page.get_by_text("No message was set aside.")).to_be_visible()
    tab.open(f"/edges/{HOSTILE.replace('/', '')}")
    expect(page.get_by_role("main")).to_contain_text("there is no edge")
    expect(page.locator("main img")).to_have_count(0)
    assert page.evaluate("window.pwned") is None
    assert (
        page.evaluate(
            "() => { try { document.body.innerHTML = '<b>x</b>'; return 'made' }"
            " catch { return 'refused' } }"
        )
        == "refused"
    )
    tab.complaints.clear()  # the page that there is not, and the refusal


def test_a_dead_letter_is_replayed(tab: Tab) -> None:
    box = DeadLetterBox(tab.running.base / "dead-letters")
    message = Message.build("a", "b", "nothing", "nothing")
    letter = box.put("devicecontroller", encode(message), deliveries=3, reason="it crashed")
    page = tab.open("/dead-letters")
    page.get_by_role("button", name=f"Replay {letter.id}").click()
    page.get_by_role("dialog").get_by_role("button", name="Replay").click()
    expect(page.get_by_text("No message was set aside.")).to_be_visible()
    assert not box.letters()


def test_the_line_for_a_new_edge_and_a_token_that_is_revoked(tab: Tab) -> None:
    page = tab.open("/access")
    page.get_by_role("button", name="Make the line").click()
    page.get_by_role("dialog").get_by_role("button", name="Make a token").click()
    line = page.locator(".join-line pre")
    expect(line).to_contain_text("keadm join --cloudcore-ipport=127.0.0.1:")
    expect(line).to_contain_text("--token=")
    row = page.get_by_role("row").filter(has=page.get_by_text("good", exact=True))
    row = row.filter(has=page.get_by_role("button", name=re.compile("Revoke")))
    expect(row).to_have_count(1)
    row.get_by_role("button").click()
    page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    expect(page.get_by_role("row").filter(has_text="revoked")).to_have_count(1)


def test_logs_are_live_and_searched(tab: Tab) -> None:
    page = tab.open("/logs?module=cloudhub")
    log = page.get_by_role("log")
    expect(log).to_contain_text("node plant-0 connected")
    expect(log).not_to_contain_text("module cloudhub:")  # the supervisor's
    page.get_by_label("Search").fill("PLANT-0 connected")
    expect(log.locator("mark").first).to_have_text("plant-0 connected")
    page.get_by_label("Only lines that match").check()
    expect(log).not_to_contain_text("plant-1")


def test_the_keyboard_reaches_everything(tab: Tab) -> None:
    page = tab.open("/edges")
    expect(page.get_by_role("row")).to_have_count(EDGES + 1)
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.get_by_role("link", name="Devices").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Devices")
    expect(page.get_by_role("main")).to_be_focused()
    expect(page.get_by_role("link", name="Devices")).to_have_attribute("aria-current", "page")
    page.go_back()
    expect(page.get_by_role("heading", level=1)).to_have_text("Edges")
    page.get_by_role("button", name="Name").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("row").nth(1)).to_contain_text(f"plant-{EDGES - 1}")


def test_who_may_only_look_has_no_verbs(tmp_path: Path, context: BrowserContext) -> None:
    with begin(tmp_path, "good", sets=("modules.dashboard.open_to_read=true",)) as running:
        tab = Tab(running, context)
        page = tab.open("/modules")
        expect(page.get_by_role("button", name="Restart good")).to_be_disabled()
        expect(page.get_by_role("link", name="Log in")).to_be_visible()
