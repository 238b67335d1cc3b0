"""Which requests go through a proxy of the environment, and with what credentials."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from modules.common.kube import NODES, ConfigurationError, KubeClient, Unreachable
from modules.common.kube.proxies import proxy_for
from tests.modules.common.kube.test_credentials import write_kubeconfig
from tests.support.fake_api_server import FakeServer, replies

API = "http://api.example"


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


async def test_requests_go_through_the_proxy_with_its_credentials_and_none_of_netrc(
    server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A password of ~/.netrc would take the place of the kubeconfig's token, or collide with it."""
    netrc = tmp_path / ".netrc"
    netrc.touch(0o600)
    netrc.write_text("machine api.example login joe password secret\n")
    monkeypatch.setenv("HTTP_PROXY", server.url.replace("://", "://user:word@"))
    server.then(replies({}))
    async with KubeClient.connect(server.settings(tmp_path, master=API)) as client:
        await client.get(NODES, "n")
    (request,) = server.requests
    assert str(request.url) == f"{API}/api/v1/nodes/n"
    assert request.headers["Proxy-Authorization"] == "Basic dXNlcjp3b3Jk"
    assert "Authorization" not in request.headers


async def test_a_tls_connection_is_asked_for_with_the_proxys_credentials(
    server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bytes] = []

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as proxy:
        port = proxy.sockets[0].getsockname()[1]
        monkeypatch.setenv("HTTPS_PROXY", f"http://user:word@127.0.0.1:{port}")
        settings = server.settings(tmp_path, master="https://api.example:6443")
        async with KubeClient.connect(settings) as client:
            with pytest.raises(Unreachable, match=rf"through the proxy http://127.*:{port}: .*407"):
                await client.get(NODES, "n")
    (head,) = asked
    assert head.startswith(b"CONNECT api.example:6443 HTTP/1.1\r\n")
    assert b"Proxy-Authorization: Basic dXNlcjp3b3Jk\r\n" in head


async def test_a_proxy_that_does_not_answer_is_named_without_its_password(
    server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://user:word@127.0.0.1:1")
    async with KubeClient.connect(server.settings(tmp_path, master=API)) as client:
        with pytest.raises(Unreachable, match="through the proxy http://127.0.0.1:1: Connection"):
            await client.get(NODES, "n")


async def test_a_proxy_that_is_no_url_is_told_of_without_its_password(
    server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://user:word@[nonsense")
    async with KubeClient.connect(server.settings(tmp_path, master=API)) as client:
        with pytest.raises(ConfigurationError, match="proxy for http in the .* no URL") as refused:
            await client.get(NODES, "n")
    assert "word" not in str(refused.value)


async def test_the_proxy_of_a_kubeconfig_is_used_and_that_of_the_environment_is_not(
    server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    path = write_kubeconfig(tmp_path, API, {"token": "t"}, **{"proxy-url": server.url})
    settings = server.settings(tmp_path, master="", kubeconfig=str(path))
    server.then(replies({}))
    async with KubeClient.connect(settings) as client:
        await client.get(NODES, "n")
    assert [str(each.url) for each in server.requests] == [f"{API}/api/v1/nodes/n"]


async def test_a_proxy_of_a_kubeconfig_that_cannot_be_used_is_refused(
    server: FakeServer, tmp_path: Path
) -> None:
    url = "socks5://user:word@p:1080"
    path = write_kubeconfig(tmp_path, API, {"token": "t"}, **{"proxy-url": url})
    settings = server.settings(tmp_path, master="", kubeconfig=str(path))
    async with KubeClient.connect(settings) as client:
        with pytest.raises(ConfigurationError, match=r"socks5://p:1080, has to be of http://"):
            await client.get(NODES, "n")


@pytest.mark.parametrize(
    ("server", "environment", "wants"),
    [
        (API, {}, None),
        (API, {"HTTP_PROXY": "http://p:3128"}, "http://p:3128"),
        (API, {"HTTP_PROXY": "p:3128"}, "http://p:3128"),
        (API, {"HTTPS_PROXY": "http://p:3128"}, None),
        ("https://api.example:6443", {"HTTPS_PROXY": "http://p:3128"}, "http://p:3128"),
        ("https://api.example:6443", {"HTTPS_PROXY": "https://p:3128"}, None),
        (API, {"HTTP_PROXY": "http://p:3128", "NO_PROXY": ".example"}, None),
        ("http://10.0.0.1", {"HTTP_PROXY": "http://p:3128", "NO_PROXY": "10.0.0.1"}, None),
        ("http://127.0.0.1", {"HTTP_PROXY": "http://p:3128"}, None),
        ("http://localhost:8080", {"HTTP_PROXY": "http://p:3128"}, None),
    ],
)
def test_which_proxy(
    monkeypatch: pytest.MonkeyPatch, server: str, environment: dict[str, str], wants: str | None
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    found = proxy_for(server)
    assert (found and str(found.url)) == wants


def test_a_proxy_of_https_is_told_of(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "https://user:word@p:3128")
    assert proxy_for(API) is None
    assert "in the environment, https://p:3128, is not used" in caplog.text
