import asyncio
import ssl
import stat
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from modules.common.kube import (
    NODES,
    ConfigurationError,
    CredentialsUnavailable,
    KubeClient,
    Unauthorized,
    Unreachable,
)
from modules.common.kube.credentials import kubeconfig_path, load_access
from modules.common.pki.certificates import Pki
from supervisor.api import KubernetesSettings, Settings
from tests.support.fake_api_server import FakeServer, refuses, replies


def write_kubeconfig(directory: Path, server: str, user: dict[str, Any], **cluster: str) -> Path:
    path = directory / "config"
    config = {
        "clusters": [{"name": "c", "cluster": {"server": server, **cluster}}],
        "users": [{"name": "u", "user": user}, {"name": "other", "user": {"token": "other"}}],
        "contexts": [
            {"name": "x", "context": {"cluster": "c", "user": "u"}},
            {"name": "y", "context": {"cluster": "c", "user": "other"}},
        ],
        "current-context": "x",
    }
    path.write_text(yaml.safe_dump(config))
    return path


def authorizations(server: FakeServer) -> list[str | None]:
    return [request.headers.get("Authorization") for request in server.requests]


async def ask(server: FakeServer, tmp_path: Path, user: dict[str, Any], **options: Any) -> None:
    path = write_kubeconfig(tmp_path, server.url, user)
    settings = server.settings(tmp_path, master="", kubeconfig=str(path), **options)
    async with KubeClient.connect(settings) as client:
        await client.get(NODES, "n")


async def test_token(server: FakeServer, tmp_path: Path) -> None:
    server.then(replies({}))
    await ask(server, tmp_path, {"token": "secret"})
    assert authorizations(server) == ["Bearer secret"]


async def test_basic(server: FakeServer, tmp_path: Path) -> None:
    server.then(replies({}))
    await ask(server, tmp_path, {"username": "me", "password": "pw"})
    assert authorizations(server) == ["Basic bWU6cHc="]


async def test_context(server: FakeServer, tmp_path: Path) -> None:
    server.then(replies({}))
    await ask(server, tmp_path, {"token": "secret"}, context="y")
    assert authorizations(server) == ["Bearer other"]


async def test_refused_token_is_not_repeated(server: FakeServer, tmp_path: Path) -> None:
    server.then(refuses(401, "Unauthorized"))
    with pytest.raises(Unauthorized):
        await ask(server, tmp_path, {"token": "secret"})
    assert len(server.requests) == 1


async def test_token_file_is_read_again(server: FakeServer, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("first\n")
    path = write_kubeconfig(tmp_path, server.url, {"tokenFile": "token"})
    settings = server.settings(tmp_path, master="", kubeconfig=str(path))
    server.then(replies({}), refuses(401, "Unauthorized"), replies({}), replies({}))
    async with KubeClient.connect(settings) as client:
        await client.get(NODES, "n")
        token.write_text("second\n")
        await client.get(NODES, "n")
        await client.get(NODES, "n")
    assert authorizations(server) == [f"Bearer {t}" for t in ("first", "first", "second", "second")]


def exec_plugin(directory: Path, version: str = "v1") -> dict[str, Any]:
    """A plugin that gives token-1, token-2 and so on, and notes what it was told."""
    script = directory / "plugin"
    script.write_text(
        f"#!{sys.executable}\n"
        "import json, os, pathlib, sys\n"
        f"count = pathlib.Path({str(directory / 'count')!r})\n"
        "n = int(count.read_text()) + 1 if count.exists() else 1\n"
        "count.write_text(str(n))\n"
        "info = json.loads(os.environ['KUBERNETES_EXEC_INFO'])\n"
        "assert info['kind'] == 'ExecCredential' and sys.argv[1:] == ['--for', 'me']\n"
        "assert os.environ['EXTRA'] == 'set'\n"
        "print(json.dumps({**info, 'status': {'token': f'token-{n}'}}))\n"
    )
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return {
        "exec": {
            "apiVersion": f"client.authentication.k8s.io/{version}",
            "command": str(script),
            "args": ["--for", "me"],
            "env": [{"name": "EXTRA", "value": "set"}],
            "interactiveMode": "Never",
        }
    }


@pytest.mark.parametrize("version", ["v1", "v1beta1"])
async def test_exec_plugin(server: FakeServer, tmp_path: Path, version: str) -> None:
    server.then(replies({}))
    await ask(server, tmp_path, exec_plugin(tmp_path, version))
    assert authorizations(server) == ["Bearer token-1"]


async def test_exec_plugin_is_asked_again_once_for_all(server: FakeServer, tmp_path: Path) -> None:
    path = write_kubeconfig(tmp_path, server.url, exec_plugin(tmp_path))
    settings = server.settings(tmp_path, master="", kubeconfig=str(path))
    server.then(replies({}), *[refuses(401, "Unauthorized")] * 3, *[replies({})] * 3)
    async with KubeClient.connect(settings) as client:
        await client.get(NODES, "n")
        await asyncio.gather(*(client.get(NODES, "n") for _ in range(3)))
    assert authorizations(server)[1:] == ["Bearer token-1"] * 3 + ["Bearer token-2"] * 3


async def test_exec_plugin_that_fails(server: FakeServer, tmp_path: Path) -> None:
    user = {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "false"}}
    with pytest.raises(CredentialsUnavailable, match="Exec false returned 1") as caught:
        await ask(server, tmp_path, user)
    assert caught.value.retriable


def settings(directory: Path, **options: Any) -> Settings:
    return Settings(directory, directory, KubernetesSettings(**options))


async def test_the_server_is_asked_for_the_certificate_that_the_kubeconfig_names(
    pki: Pki, tmp_path: Path
) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(pki.server_cert, pki.server_key)
    named: list[str | None] = []
    tls.sni_callback = lambda _, name, __: named.append(name)

    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0, ssl=tls) as listening:
        url = f"https://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        authority = {"certificate-authority": str(pki.ca_cert)}
        for name, reason in (("localhost", "broke off|disconnected"), ("nobody.example", "nobody")):
            fields = authority | {"tls-server-name": name}
            path = write_kubeconfig(tmp_path, url, {"token": "t"}, **fields)
            settings = Settings(tmp_path, tmp_path, KubernetesSettings(kubeconfig=str(path)))
            async with KubeClient.connect(settings) as client:
                with pytest.raises(Unreachable, match=reason):
                    await client.get(NODES, "n")
    assert dict.fromkeys(named).keys() == {"localhost", "nobody.example"}


def test_master_overrides_the_server(tmp_path: Path) -> None:
    path = write_kubeconfig(tmp_path, "http://elsewhere:1", {"token": "t"})
    access = load_access(settings(tmp_path, kubeconfig=str(path), master="http://here:2/"))
    assert access.server == "http://here:2"


def test_in_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    with pytest.raises(ConfigurationError, match="in-cluster configuration"):
        load_access(settings(tmp_path, in_cluster=True))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, "not found"),
        ("{}", "'clusters' is not defined"),
        ("clusters: [}", "flow node"),
        ("clusters: 3\ncontexts: []", "int"),
        ("clusters: []\ncontexts: []", "No current context"),
        ("clusters: []\ncontexts: []\ncurrent-context: x", "Context 'x' not found"),
    ],
)
def test_unusable_kubeconfig(tmp_path: Path, text: str | None, expected: str) -> None:
    path = tmp_path / "config"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigurationError, match=expected) as caught:
        load_access(settings(tmp_path, kubeconfig=str(path)))
    assert str(path) in str(caught.value)


def test_which_kubeconfig(tmp_path: Path) -> None:
    assert kubeconfig_path(settings(tmp_path)) == tmp_path / "kubeconfig"
    assert kubeconfig_path(settings(tmp_path, kubeconfig="/k")) == Path("/k")
    assert kubeconfig_path(settings(tmp_path, master="http://m")) is None
    assert kubeconfig_path(settings(tmp_path, in_cluster=True)) is None


async def test_credentials_written_anew_are_used(server: FakeServer, tmp_path: Path) -> None:
    """A renewed client certificate or token in the kubeconfig takes effect when it is needed."""
    path = write_kubeconfig(tmp_path, server.url, {"token": "old"})
    settings = server.settings(tmp_path, master="", kubeconfig=str(path))
    server.then(refuses(401, "Unauthorized"), replies({}))
    async with KubeClient.connect(settings) as client:
        write_kubeconfig(tmp_path, server.url, {"token": "renewed"})
        await client.get(NODES, "n")
    assert authorizations(server) == ["Bearer old", "Bearer renewed"]
