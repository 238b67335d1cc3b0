"""Which connections get a session, and what the others are answered."""

from __future__ import annotations

import asyncio
import re
import ssl
import warnings
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from ipc.files import replace_file
from modules.cloudhub.endpoint import websocket
from modules.cloudhub.endpoint.tls import ServerTls, TlsFiles, handshake_failure
from modules.common.pki.certificates import Pki, ensure_pki, issue_node
from supervisor.api import CannotStart
from tests.modules.cloudhub.cloud import PROJECT, Cloud, Join
from tests.modules.cloudhub.edge import Edge
from tests.support.waiting import until

TlsOf = Callable[[str], ssl.SSLContext]
PATH = f"/{PROJECT}/edge-1/events"


def tls_with(pki: Pki, node: str | None, directory: Path, signer: Path | None = None):
    """Return the TLS context of an edge that trusts `pki`; another CA may have signed its own."""
    tls = ssl.create_default_context(cafile=str(pki.ca_cert))
    tls.check_hostname = False
    if node is not None:
        certificate, key = issue_node(signer or pki.directory, node)
        (directory / "edge.pem").write_bytes(key + certificate)
        tls.load_cert_chain(directory / "edge.pem")
    return tls


async def refusal(cloud: Cloud, tls: ssl.SSLContext, path: str, headers: dict[str, str]) -> str:
    edge = Edge()
    answer = await edge.connect(cloud.port, tls, path, headers)
    await edge.leave()
    return answer


async def until_refused(cloud: Cloud, cause: str) -> None:
    await until(lambda: cloud.hub.statistics.refused[cause] > 0)


async def test_an_edge_connects_and_the_controllers_are_told(cloud: Cloud, join: Join) -> None:
    await join(cloud, "edge-1")
    told = await cloud.expect("edge-1", "connected")
    assert (told.source, told.group) == ("cloudhub", "resource")
    assert told.content["event_type"] == "connected"
    assert told.content["client_id"] == "edge-1"
    assert isinstance(told.content["timestamp"], int)


@pytest.mark.parametrize(
    ("path", "node_id", "status"),
    [
        ("/events", "edge-1", "404"),
        ("/", "edge-1", "404"),
        (f"{PATH}/more", "edge-1", "404"),
        (f"/{PROJECT}/Edge_1/events", "Edge_1", "400"),
        (f"/{PROJECT}/-/events", "-", "400"),
        (f"/{PROJECT}/{'a' * 254}/events", "a" * 254, "400"),
        (PATH, "edge-2", "403"),
        (PATH, "", "403"),
        (f"/{PROJECT}/edge-2/events", "edge-2", "403"),
    ],
)
async def test_header_path_and_certificate_have_to_agree(
    cloud: Cloud, client_tls: TlsOf, path: str, node_id: str, status: str
) -> None:
    answer = await refusal(cloud, client_tls("edge-1"), path, {"node_id": node_id})
    assert answer.startswith(f"HTTP/1.1 {status} ")
    assert len(answer.split(": ", 1)[1]) > 10  # it says why
    assert cloud.hub.statistics.refused.total() == 1
    assert not cloud.hub.sessions


async def test_the_header_is_needed(cloud: Cloud, client_tls: TlsOf) -> None:
    answer = await refusal(cloud, client_tls("edge-1"), PATH, {})
    assert answer.startswith("HTTP/1.1 403 ")


async def test_any_trusted_lets_a_shared_certificate_in(run_hub: Callable, join: Join) -> None:
    async with run_hub(authorization="any-trusted") as cloud:
        await join(cloud, "edge-7", certificate="edge-1")
        await cloud.expect("edge-7", "connected")


NO_HANDSHAKE = (ssl.SSLError, ConnectionError, asyncio.IncompleteReadError)


def no_certificate(pki: Pki, _: Path) -> ssl.SSLContext:
    return tls_with(pki, None, Path())


def of_another_ca(pki: Pki, directory: Path) -> ssl.SSLContext:
    return tls_with(pki, "edge-1", directory, signer=directory / "other")


def expired(pki: Pki, directory: Path) -> ssl.SSLContext:
    """Return the TLS context of an edge whose certificate expired yesterday."""
    ca = x509.load_pem_x509_certificate(pki.ca_cert.read_bytes())
    ca_key = serialization.load_pem_private_key(pki.ca_key.read_bytes(), None)
    key = rsa.generate_private_key(65537, 2048)
    now = datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "system:node:edge-1")])
    certificate = (
        x509.CertificateBuilder(ca.subject, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=2))
        .not_valid_after(now - timedelta(days=1))
        .sign(ca_key, hashes.SHA256())  # type: ignore[arg-type]
    )
    form = serialization.Encoding.PEM
    plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    file = directory / "edge.pem"
    file.write_bytes(key.private_bytes(form, *plain) + certificate.public_bytes(form))
    tls = tls_with(pki, None, Path())
    tls.load_cert_chain(file)
    return tls


def of_tls_1_1(pki: Pki, directory: Path) -> ssl.SSLContext:
    tls = tls_with(pki, "edge-1", directory)
    tls.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings(action="ignore"):
        tls.minimum_version = ssl.TLSVersion.TLSv1
        tls.maximum_version = ssl.TLSVersion.TLSv1_1
    return tls


def that_trusts_another_ca(pki: Pki, directory: Path) -> ssl.SSLContext:
    return tls_with(ensure_pki(directory / "other", []), "edge-1", directory)


@pytest.mark.parametrize(
    ("edge_with", "cause"),
    [
        (no_certificate, "shows no client certificate"),
        (of_another_ca, "not signed by the CA that cloudcore trusts"),
        (expired, "its certificate has expired"),
        (of_tls_1_1, "only TLS versions before 1.2"),
        (that_trusts_another_ca, "does not trust the server's certificate"),
    ],
)
async def test_a_handshake_that_fails_is_logged_with_its_cause(
    run_hub: Callable,
    join: Join,
    pki: Pki,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    edge_with: Callable[[Pki, Path], ssl.SSLContext],
    cause: str,
) -> None:
    async with run_hub() as cloud:
        with pytest.raises(NO_HANDSHAKE):
            await refusal(cloud, edge_with(pki, tmp_path), PATH, {"node_id": "edge-1"})
        await until_refused(cloud, "tls")
        (line,) = [text for text in caplog.messages if "refused" in text]
        assert re.fullmatch(rf"connection from 127\.0\.0\.1:\d+ refused: .*{cause}.*", line)
        await join(cloud, "edge-1")
        await cloud.expect("edge-1", "connected")


@pytest.mark.parametrize(
    ("alert", "cause"),
    [
        ("TLSV1_ALERT_UNKNOWN_CA", "does not accept the server's certificate"),
        ("SSLV3_ALERT_BAD_CERTIFICATE", "does not accept the server's certificate"),
        ("NO_SUCH_REASON", "TLS handshake failed: no such reason"),
    ],
)
def test_what_a_client_says_in_an_alert_is_put_into_words(alert: str, cause: str) -> None:
    error = ssl.SSLError(1, f"[SSL: {alert}] (_ssl.c:1006)")
    error.reason = alert
    assert cause in handshake_failure(error)


def test_no_failure_is_without_words() -> None:
    for error in (ConnectionResetError(), ConnectionAbortedError("too slow"), OSError(5, "I/O")):
        assert len(handshake_failure(error)) > len("TLS handshake failed: ")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_both_versions_of_tls_with_the_suite_of_v1_1(
    cloud: Cloud, join: Join, pki: Pki, tmp_path: Path, version: ssl.TLSVersion
) -> None:
    tls = tls_with(pki, "edge-tls", tmp_path)
    tls.minimum_version = tls.maximum_version = version
    tls.set_ciphers("ECDHE-RSA-AES128-GCM-SHA256")
    await join(cloud, "edge-tls", tls=tls)
    await cloud.expect("edge-tls", "connected")


async def test_who_speaks_no_tls_is_turned_away(cloud: Cloud) -> None:
    edge = Edge()
    await edge.open(cloud.port, None)
    edge.write(b"GET / HTTP/1.1\r\n\r\n")
    await edge.gone()
    await until_refused(cloud, "tls")
    await edge.leave()


async def test_a_request_that_is_none_is_answered_and_counted(
    cloud: Cloud, client_tls: TlsOf
) -> None:
    edge = Edge()
    await edge.open(cloud.port, client_tls("edge-1"))
    edge.write(b"POST / HTTP/1.1\r\n\r\n")
    await edge.gone()
    await until_refused(cloud, "request")
    await edge.leave()


async def test_an_upgrade_that_is_none_leaves_nothing_behind(
    cloud: Cloud, client_tls: TlsOf, join: Join
) -> None:
    bad = {"node_id": "edge-1", "Sec-WebSocket-Version": "1"}
    answer = await refusal(cloud, client_tls("edge-1"), PATH, bad)
    assert answer.startswith("HTTP/1.1 400 ")
    assert not cloud.hub.sessions
    await join(cloud, "edge-1")
    await cloud.expect("edge-1", "connected")


async def test_the_node_limit_is_exact(run_hub: Callable, join: Join, client_tls: TlsOf) -> None:
    async with run_hub(node_limit=2) as cloud:
        first = await join(cloud, "edge-1")
        await join(cloud, "edge-2")
        await cloud.expect("edge-1", "connected")
        await cloud.expect("edge-2", "connected")
        path = f"/{PROJECT}/edge-3/events"
        answer = await refusal(cloud, client_tls("edge-3"), path, {"node_id": "edge-3"})
        assert answer.startswith("HTTP/1.1 503 ")
        assert "node_limit" in answer
        assert cloud.hub.statistics.refused["limit"] == 1

        await join(cloud, "edge-2")  # who is connected may come again
        await cloud.expect("edge-2", "disconnected")
        await cloud.expect("edge-2", "connected")

        await first.leave()
        await cloud.expect("edge-1", "disconnected")
        await join(cloud, "edge-3")
        await cloud.expect("edge-3", "connected")


async def test_many_at_once_all_get_in(
    run_hub: Callable, join: Join, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websocket, "_PATIENCE", 600.0)  # as on a machine that is fast enough
    many = 150
    async with run_hub(authorization="any-trusted") as cloud:
        names = [f"edge-{number}" for number in range(many)]
        async with asyncio.timeout(30):
            await asyncio.gather(*(join(cloud, name, certificate="edge-1") for name in names))
            told = [(await cloud.next()).resource for _ in names]
        assert sorted(told) == sorted(f"node/{name}" for name in names)
        assert not cloud.hub.statistics.refused


async def test_changed_certificates_are_used_for_new_connections(
    run_hub: Callable, join: Join, client_tls: TlsOf, tmp_path: Path, pki: Pki
) -> None:
    new = ensure_pki(tmp_path / "new", [])
    files = TlsFiles(tmp_path / "ca.crt", tmp_path / "server.crt", tmp_path / "server.key")
    files.ca.write_bytes(pki.ca_cert.read_bytes() + new.ca_cert.read_bytes())
    files.cert.write_bytes(pki.server_cert.read_bytes())
    files.key.write_bytes(pki.server_key.read_bytes())
    async with run_hub(files=files) as cloud:
        edge = await join(cloud, "edge-1")
        await cloud.expect("edge-1", "connected")

        files.cert.write_bytes(new.server_cert.read_bytes())
        cloud.hub.tls.refresh()  # the key is not there yet: the old pair stays
        await join(cloud, "edge-2")
        await cloud.expect("edge-2", "connected")

        files.key.write_bytes(new.server_key.read_bytes())
        cloud.hub.tls.refresh()
        await join(cloud, "edge-3", tls=tls_with(new, "edge-3", tmp_path))
        await cloud.expect("edge-3", "connected")

        await cloud.send("edge-1", "default/pod/p")
        assert (await edge.receive()).resource == "default/pod/p"


def test_a_certificate_that_openssl_alone_can_read_changes_nothing(
    pki: Pki, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = TlsFiles(pki.ca_cert, tmp_path / "server.crt", pki.server_key)
    files.cert.write_bytes(pki.server_cert.read_bytes())
    tls = ServerTls(files)
    before = (tls.context, tls.joining_context, tls.expires)
    trusted = files.cert.read_bytes().replace(b" CERTIFICATE", b" TRUSTED CERTIFICATE")
    replace_file(files.cert, trusted)
    tls.refresh()
    assert (tls.context, tls.joining_context, tls.expires) == before
    assert f"{files.cert}: it is no certificate in PEM" in caplog.text
    with pytest.raises(CannotStart, match="it is no certificate in PEM"):
        ServerTls(files)


@pytest.mark.parametrize("damage", ["missing", "empty", "other"])
def test_unusable_certificates_are_no_reason_to_try_again(
    pki: Pki, tmp_path: Path, damage: str
) -> None:
    key = tmp_path / "server.key"
    if damage != "missing":
        key.write_bytes(b"" if damage == "empty" else pki.admin_key.read_bytes())
    with pytest.raises(CannotStart, match=r"server\.key"):
        ServerTls(TlsFiles(pki.ca_cert, pki.server_cert, key))
