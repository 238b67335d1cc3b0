"""What other sites, other hosts and hostile browsers cannot do."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from modules.dashboard.access.hosts import Hosts, same_origin
from modules.dashboard.live.viewers import MOST_UNTRUSTED
from modules.dashboard.web.application import PAGES
from tests.modules.dashboard.cloudcore import TOKEN, begin
from tests.modules.dashboard.visitor import Browser, expect
from tests.support.running import Running

DOCUMENTS = ("/api/session", "/api/history", "/api/crashes", "/api/live?topics=status")
VERBS = (
    *(f"/api/modules/good/{verb}" for verb in ("restart", "start", "stop", "enable", "disable")),
    *("/api/reload", "/api/dead-letters/x/replay", "/api/dead-letters/x/drop", "/api/logout"),
)

#: What nobody sees without a login, though the page is open to read.
CONFIDENTIAL = (
    *("/api/live?topics=logs:good", "/api/live?topics=logs:", "/api/live?topics=status,logs:good"),
    *("/api/crashes", "/api/crashes/x", "/api/dead-letters", "/api/dead-letters/x"),
    "/api/tokens",
)


@pytest.mark.parametrize("path", [page.format(name="x", id="x") for page in PAGES])
async def test_without_login_there_is_no_page(visitor: Browser, path: str) -> None:
    async with visitor.http.get(path, allow_redirects=False) as answer:
        assert answer.status == 303
        assert answer.headers["Location"] == "/login"


@pytest.mark.parametrize("path", DOCUMENTS)
async def test_without_login_there_is_no_document(visitor: Browser, path: str) -> None:
    status, answer = await visitor.get(path)
    assert status == 401
    assert "cloudcore dashboard" in answer["error"]


@pytest.mark.parametrize("path", VERBS)
async def test_without_login_there_is_no_verb(
    cloudcore: Running, visitor: Browser, path: str
) -> None:
    before = cloudcore.module("good")["pid"]
    assert (await visitor.post(path))[0] == 401
    assert cloudcore.module("good")["pid"] == before


@pytest.mark.parametrize("path", VERBS)
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Origin": "http://127.0.0.1:1"},
        {"X-CSRF-Token": ""},
        {"X-CSRF-Token": "0" * 64},
    ],
    ids=str,
)
async def test_another_site_cannot_use_the_login(
    cloudcore: Running, operator: Browser, path: str, headers: dict[str, str]
) -> None:
    before = cloudcore.module("good")["pid"]
    status, answer = await operator.post(path, **headers)
    assert status == 403, answer
    assert cloudcore.module("good")["pid"] == before


async def test_a_token_of_another_session_is_none(cloudcore: Running, operator: Browser) -> None:
    other = Browser(cloudcore)
    async with other.http:
        await other.log_in()
        assert other.csrf != operator.csrf
        assert (await operator.post("/api/reload", **{"X-CSRF-Token": other.csrf}))[0] == 403


async def test_another_site_cannot_read_either(operator: Browser) -> None:
    assert (await operator.get("/api/crashes", Origin="http://evil.example"))[0] == 403
    async with operator.http.get("/api/crashes") as answer:
        assert "Access-Control-Allow-Origin" not in answer.headers


async def test_another_site_cannot_log_a_browser_in(visitor: Browser) -> None:
    status, _ = await visitor.post("/api/login", {"token": TOKEN}, Origin="http://evil.example")
    assert status == 403


async def test_a_form_cannot_be_a_verb(operator: Browser) -> None:
    headers = {"Origin": operator.origin, "X-CSRF-Token": operator.csrf}
    async with operator.http.post("/api/login", data={"code": "x"}, headers=headers) as answer:
        assert answer.status == 415


@pytest.mark.parametrize("host", ["evil.example", "evil.example:{port}", "127.0.0.1:1", "x@y"])
async def test_a_name_that_resolves_to_us_is_refused(
    visitor: Browser, operator: Browser, host: str
) -> None:
    _, _, port = visitor.host.rpartition(":")
    name = host.format(port=port)
    for path in ("/", "/login", "/assets/js/main.js", "/api/crashes"):
        status, answer = await operator.get(path, Host=name)
        assert status in {400, 421}, answer
    status, _ = await operator.post("/api/reload", Host=name, Origin=f"http://{name}")
    assert status in {400, 421}


def test_which_hosts_are_allowed() -> None:
    local = Hosts("127.0.0.1", 10008, ["Dash.example"])
    for host in ("127.0.0.1:10008", "localhost:10008", "LOCALHOST:10008", "[::1]:10008"):
        assert local.allow(host)
    for host in ("dash.example", "dash.example:443", "dash.example:10008"):
        assert local.allow(host)
    for host in ("127.0.0.1", "10.0.0.1:10008", "dash.example.evil", "localhost.evil:10008", ":"):
        assert not local.allow(host)
    everywhere = Hosts("0.0.0.0", 80, [])
    assert everywhere.allow("10.1.2.3")
    assert everywhere.allow("[fe80::1]:80")
    assert not everywhere.allow("rebound.example")


def test_which_origins_are_the_page() -> None:
    assert same_origin("http://127.0.0.1:10008", "127.0.0.1:10008")
    assert same_origin("https://Dash.example", "dash.example")
    for origin in ("null", "", "ftp://h", "http://h:1", "http://h.evil", "h"):
        assert not same_origin(origin, "h")


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/login",
        "/assets/js/main.js",
        "/api/session",
        "/api/nothing",
        "/api/live?topics=status",
    ],
)
async def test_every_answer_forbids_frames_and_foreign_or_inline_code(
    operator: Browser, path: str
) -> None:
    async with operator.http.get(path) as answer:
        policy = answer.headers["Content-Security-Policy"]
        parts = dict(part.strip().partition(" ")[::2] for part in policy.split(";"))
        assert answer.headers["X-Frame-Options"] == "DENY"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert "no-" in answer.headers["Cache-Control"]
    assert parts["default-src"] == parts["frame-ancestors"] == parts["base-uri"] == "'none'"
    assert parts["script-src"] == parts["style-src"] == parts["connect-src"] == "'self'"
    assert parts["require-trusted-types-for"] == "'script'"
    assert "unsafe" not in policy
    assert "http" not in policy


async def test_the_page_has_nothing_inline_and_nothing_of_other_hosts(operator: Browser) -> None:
    assets = Path(__file__).parents[3] / "modules" / "dashboard" / "assets"
    files = [path for path in assets.rglob("*") if path.is_file()]
    assert files
    for path in files:
        text = path.read_text()
        for forbidden in (
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
        ):
            assert forbidden not in text, path
        assert "http://" not in text.replace("http://www.w3.org/", ""), path
        assert "https://" not in text, path
        if path.suffix == ".html":
            assert "style=" not in text
            assert "<style" not in text
            assert "onclick" not in text
            assert text.count("<script") == text.count('<script type="module" src="/assets/')
        status, _ = await operator.get(f"/assets/{path.relative_to(assets)}")
        assert status == 200


@pytest.mark.parametrize(
    "path", ["/assets/../cli.py", "/assets/%2e%2e/cli.py", "/assets//etc/passwd", "/assets/js"]
)
async def test_no_other_file_is_served(operator: Browser, path: str) -> None:
    import yarl

    url = yarl.URL(f"{operator.origin}{path}", encoded=True)
    async with operator.http.get(url) as answer:
        assert answer.status == 404


async def test_an_address_without_a_page_shows_that_there_is_none(operator: Browser) -> None:
    for path in ("/nothing", "/edges/a/b"):
        async with operator.http.get(f"{operator.origin}{path}") as answer:
            assert (answer.status, answer.content_type) == (404, "text/html")
    for path in ("/api/nothing", "/assets/nothing"):
        async with operator.http.get(f"{operator.origin}{path}") as answer:
            assert (answer.status, answer.content_type) == (404, "application/json")


async def test_who_may_only_look_cannot_take_all_streams(tmp_path: Path) -> None:
    with begin(tmp_path, sets=("modules.dashboard.open_to_read=true",)) as running:
        visitor, operator = Browser(running), Browser(running)
        async with visitor.http, operator.http, AsyncExitStack() as pages:
            for _ in range(MOST_UNTRUSTED):
                await pages.enter_async_context(visitor.live("status"))
            status, answer = await visitor.get("/api/live?topics=status")
            assert status == 503
            assert "without a login" in answer["error"]
            await operator.log_in()
            events = await pages.enter_async_context(operator.live("status"))
            await expect(events, "status")


async def test_who_may_only_look_cannot_control(tmp_path: Path) -> None:
    with begin(tmp_path, sets=("modules.dashboard.open_to_read=true",)) as running:
        browser = Browser(running)
        async with browser.http:
            assert (await browser.get("/"))[0] == 200
            _, session = await browser.get("/api/session")
            assert session == {"trusted": False, "csrf": ""}
            async with browser.live("status") as events:
                await expect(events, "status", lambda status: status["modules"])
            for verb in VERBS:
                assert (await browser.post(verb))[0] == 401
            for path in CONFIDENTIAL:
                assert (await browser.get(path))[0] == 401, path
            for path in ("/api/devices", "/api/history", "/api/certificates"):
                assert (await browser.get(path))[0] == 200, path
