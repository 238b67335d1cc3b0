"""Joining with a token, and the renewal of the certificate."""

from __future__ import annotations

import asyncio
import hashlib
import json
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from modules.common.wire import generations
from modules.hollow.edge import HollowEdge
from modules.hollow.events import Event
from modules.hollow.v1_23.join import CertManager, Identity, JoinError
from tests.modules.hollow.cloud import serving
from tests.modules.hollow.test_cli import start
from tests.modules.hollow.v1_23.api import TIMING, Api, edged_of
from tests.support.waiting import DEADLINE

CREDENTIALS = "header.payload.signature"
YEAR = timedelta(days=365)


def name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


class Authority:
    """A CA of today: ECDSA, as Go's cloud makes it."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        ca = x509.BasicConstraints(ca=True, path_length=None)
        self.certificate = self.sign(name("KubeEdge"), self.key.public_key(), YEAR, ca)

    def sign(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePublicKey,
        life: timedelta,
        *extensions: x509.ExtensionType,
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(name("KubeEdge"))
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now)
            .not_valid_after(now + life)
        )
        for extension in extensions:
            builder = builder.add_extension(extension, critical=False)
        return builder.sign(self.key, hashes.SHA256())

    def server_context(self, directory: Path, address: str = "127.0.0.1") -> ssl.SSLContext:
        key = ec.generate_private_key(ec.SECP256R1())
        names = x509.SubjectAlternativeName([x509.IPAddress(ip_address(address))])
        certificate = self.sign(name("server"), key.public_key(), YEAR, names)
        file = directory / "server.pem"
        file.write_bytes(
            certificate.public_bytes(serialization.Encoding.PEM)
            + key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        context.load_verify_locations(
            cadata=self.certificate.public_bytes(serialization.Encoding.PEM).decode()
        )
        context.verify_mode = ssl.CERT_OPTIONAL
        return context


class Joining:
    """The HTTPS server at which edges join."""

    def __init__(self, authority: Authority) -> None:
        self.authority = authority
        self.url = ""
        self.life = YEAR
        self.requests: list[web.Request] = []
        self.subjects: list[x509.Name] = []
        self.failures = 0
        self.signs = asyncio.Event()
        """clear while requests for a certificate wait"""
        self.signs.set()

    @property
    def ca(self) -> bytes:
        return self.authority.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def token(self) -> str:
        return f"{hashlib.sha256(self.ca).hexdigest()}.{CREDENTIALS}"

    async def ca_crt(self, _: web.Request) -> web.Response:
        return web.Response(body=self.ca)

    async def edge_crt(self, request: web.Request) -> web.Response:
        self.requests.append(request)
        await self.signs.wait()
        if self.failures:
            self.failures -= 1
            return web.Response(status=500, text="failed to sign")
        shown = request.transport and request.transport.get_extra_info("peercert")
        if not shown and request.headers.get("Authorization") != f"Bearer {CREDENTIALS}":
            return web.Response(status=401, text="the token is not valid")
        csr = x509.load_der_x509_csr(await request.read())
        self.subjects.append(csr.subject)
        key = csr.public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
        certificate = self.authority.sign(csr.subject, key, self.life, usage)
        return web.Response(body=certificate.public_bytes(serialization.Encoding.DER))


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture
async def joining(authority: Authority, tmp_path: Path) -> AsyncIterator[Joining]:
    made = Joining(authority)
    app = web.Application()
    app.add_routes([web.get("/ca.crt", made.ca_crt), web.get("/edge.crt", made.edge_crt)])
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=authority.server_context(tmp_path))
    await site.start()
    made.url = f"https://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield made
    finally:
        await runner.cleanup()


async def test_asks_as_a_real_edge_does(joining: Joining) -> None:
    manager = await CertManager.join("edge-1", joining.url, joining.token)
    (request,) = joining.requests
    assert request.headers["NodeName"] == "edge-1"
    (subject,) = joining.subjects
    assert {each.oid: each.value for each in subject} == {
        NameOID.COUNTRY_NAME: "CN",
        NameOID.ORGANIZATION_NAME: "system:nodes",
        NameOID.LOCALITY_NAME: "Hangzhou",
        NameOID.STATE_OR_PROVINCE_NAME: "Zhejiang",
        NameOID.COMMON_NAME: "system:node:edge-1",
    }
    assert manager.identity.context().check_hostname


@pytest.mark.parametrize(
    ("token", "said"),
    [
        ("{hash}.only.two", "four parts"),
        ("0123.header.payload.signature", "is not the one that the token names"),
        ("{hash}.header.payload.forged", "401 the token is not valid"),
    ],
)
async def test_a_wrong_token_says_what_is_wrong_and_not_the_token(
    joining: Joining, token: str, said: str
) -> None:
    text = token.format(hash=joining.token.partition(".")[0])
    with pytest.raises(JoinError, match=said) as raised:
        await CertManager.join("edge-1", joining.url, text)
    assert text.partition(".")[2] not in str(raised.value)


async def test_a_server_of_another_name_is_not_trusted(
    authority: Authority, joining: Joining, tmp_path: Path
) -> None:
    runner = web.AppRunner(web.Application())
    runner.app.add_routes(
        [web.get("/ca.crt", joining.ca_crt), web.get("/edge.crt", joining.edge_crt)]
    )
    await runner.setup()
    context = authority.server_context(tmp_path, "192.0.2.1")
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    try:
        url = f"https://127.0.0.1:{runner.addresses[0][1]}"
        with pytest.raises(JoinError, match=r"edge\.crt"):
            await CertManager.join("edge-1", url, joining.token)
    finally:
        await runner.cleanup()
    assert joining.requests == []


async def test_the_certificate_is_renewed_before_its_end_and_the_edge_dials_again(
    authority: Authority,
    joining: Joining,
    tmp_path: Path,
    events: list[Event],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("modules.hollow.v1_23.join._RENEW_AT", (0.001, 0.001))
    joining.life = timedelta(minutes=10)
    context = authority.server_context(tmp_path)
    context.verify_mode = ssl.CERT_REQUIRED
    manager = await CertManager.join("edge-1", joining.url, joining.token)
    before: Identity = manager.identity
    joining.life = YEAR
    joining.signs.clear()  # else the first connection could have the second certificate
    async with serving(context, generations.V1_23) as cloud:
        Api(cloud)
        async with HollowEdge(
            "edge-1", cloud.url, manager, timing=TIMING, on_event=events.append
        ) as edge:
            await edge.wait_until(lambda: edged_of(edge).node.registered, 20, "registration")
            joining.signs.set()
            await edge.wait_until(lambda: edge.link.connects >= 2, 20, "the second connection")
    assert manager.identity.certificate != before.certificate
    assert manager.identity.key != before.key
    assert "Authorization" not in joining.requests[1].headers
    assert "certificate renewed" in [event.kind for event in events]


async def test_a_failed_renewal_is_tried_again(
    joining: Joining, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modules.hollow.v1_23.join._FIRST_RETRY", 0.01)
    monkeypatch.setattr("modules.hollow.v1_23.join._RENEW_AT", (0.001, 0.001))
    joining.life = timedelta(minutes=10)
    manager = await CertManager.join("edge-1", joining.url, joining.token)
    joining.life = YEAR
    joining.failures = 2
    told: list[str] = []
    renewed = asyncio.Event()
    keeping = asyncio.create_task(
        manager.keep(lambda _: renewed.set(), lambda kind, *_: told.append(kind))
    )
    await asyncio.wait_for(renewed.wait(), DEADLINE)
    keeping.cancel()
    assert told == ["certificate not renewed"] * 2 + ["certificate renewed"]


async def test_the_command_joins_with_a_token(
    authority: Authority, joining: Joining, tmp_path: Path
) -> None:
    context = authority.server_context(tmp_path)
    async with serving(context, generations.V1_23) as cloud:
        Api(cloud)
        process = await start(
            *("edge", "--count", "2", "--server", cloud.url, "-o", "json"),
            *("--https-server", joining.url, "--token", joining.token),
            kubeedge="1.23",
        )
        try:
            wanted = {"null/nodepatch/edge-0", "null/nodepatch/edge-1"}
            await cloud.wait(lambda: wanted <= {m.resource for m in cloud.messages}, 30)
            process.terminate()
            out, err = await asyncio.wait_for(process.communicate(), DEADLINE)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    assert (process.returncode, err) == (0, b"")
    events = [json.loads(line) for line in out.splitlines()]
    assert {event["node"] for event in events if event["event"] == "registered"} == {
        "edge-0", "edge-1",
    }  # fmt: skip
    assert CREDENTIALS not in out.decode()
