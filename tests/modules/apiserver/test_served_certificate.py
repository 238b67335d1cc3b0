"""The server's certificates: renewed, and used for new connections, while it runs."""

from __future__ import annotations

import asyncio
import base64
import ssl
from pathlib import Path

import pytest
import yaml

from modules.apiserver.http import served_certificate
from modules.apiserver.http.server import Server
from modules.common.pki import certificates, renewal, signing
from modules.common.pki.certificates import ensure_pki
from tests.modules.apiserver.api import Api
from tests.support.waiting import until


@pytest.fixture(autouse=True)
def looks_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served_certificate, "_LOOK", 0.01)


async def served(server: Server) -> bytes:
    host, _, port = server.url.removeprefix("https://").rpartition(":")
    context = ssl.create_default_context(cafile=str(server.pki.ca_cert))
    _, writer = await asyncio.open_connection(host, int(port), ssl=context)
    tls = writer.get_extra_info("ssl_object")
    writer.close()
    shown: bytes = tls.getpeercert(binary_form=True)
    return shown


def on_disk(path: Path) -> bytes:
    return signing.certificate_der(signing.load_certificate(path))


async def test_renewed_certificates_are_used_and_are_in_the_kubeconfig(
    server: Server, api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    before = await served(server)
    assert before == on_disk(server.pki.server_cert)
    await api.call("GET", "/api/v1/nodes")
    ensure_pki(server.pki.directory, (), renew={"server", "admin"})
    assert on_disk(server.pki.server_cert) != before
    await until(lambda: "certificates have changed" in caplog.text)
    assert await served(server) == on_disk(server.pki.server_cert)
    kubeconfig = yaml.safe_load((server.pki.directory.parent / "kubeconfig").read_text())
    data = kubeconfig["users"][0]["user"]["client-certificate-data"]
    assert base64.b64decode(data) == server.pki.admin_cert.read_bytes()
    await api.call("GET", "/api/v1/nodes")  # over the connection from before


async def test_a_certificate_without_its_key_is_not_used_until_both_are_there(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    before = await served(server)
    key = server.pki.server_key.read_bytes()
    server.pki.server_key.write_bytes(signing.key_pem(signing.new_key()))
    await until(lambda: "changed certificates are not used yet" in caplog.text)
    assert await served(server) == before
    server.pki.server_key.write_bytes(key)
    await until(lambda: "certificates have changed" in caplog.text)
    assert await served(server) == before
    assert caplog.text.count("not used yet") == 1


async def test_it_renews_what_is_about_to_expire(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody else does where CloudHub has certificates of its own, or does not run."""
    before = await served(server)
    monkeypatch.setattr(certificates, "RENEW_BEFORE", signing.LEAF_LIFETIME)
    monkeypatch.setattr(renewal, "_RENEWAL", 0.01)
    renewing = asyncio.create_task(server._certificate.renew())
    await until(lambda: on_disk(server.pki.server_cert) != before)
    monkeypatch.undo()
    renewing.cancel()
    await asyncio.wait([renewing])
