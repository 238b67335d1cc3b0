# ruff: noqa: F811 - fixtures are named as arguments
"""Joining over a real TLS connection: certificates by token and by certificate, and refusals."""

from __future__ import annotations

import logging
import ssl
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from prometheus_client import REGISTRY

from modules.cloudhub.joining.callers import Callers
from modules.common.pki import signing
from modules.common.pki.listing import list_certificates
from modules.common.pki.tokens import Claims, make_token
from tests.modules.cloudhub.door import NODE, Door, Nodes, bearer, door, nodes, open_door  # noqa: F401 - fixtures
from tests.modules.cloudhub.joiner import Joiner, csr, new_key


def usages(certificate: x509.Certificate) -> list[x509.ObjectIdentifier]:
    return list(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)


async def test_an_edge_joins_with_a_token(door: Door) -> None:
    joiner = door.joiner()
    certificate = await joiner.join(NODE)
    certificate.verify_directly_issued_by(door.authority.certificate)
    assert certificate.subject.rfc4514_string() == f"CN=system:node:{NODE},O=system:nodes"
    assert usages(certificate) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert certificate.public_key() == joiner.key.public_key()
    left = certificate.not_valid_after_utc - datetime.now(UTC)
    assert timedelta(days=364) < left <= timedelta(days=365)
    assert NODE in [each.name for each in list_certificates(door.pki)]


async def test_the_lifetime_is_as_configured(open_door: Callable[..., Any]) -> None:
    async with open_door(timedelta(days=3)) as door:
        certificate = (await door.joined()).certificate
        assert certificate.not_valid_after_utc - datetime.now(UTC) < timedelta(days=3, seconds=1)


async def test_an_edge_up_to_1_15_joins_and_renews(door: Door) -> None:
    """Its requests are for no node; its certificate is, by the header."""
    joiner = door.joiner()
    await joiner.get_ca()
    organization = ((NameOID.ORGANIZATION_NAME, "kubeEdge"),)
    for headers in (bearer(joiner), {}):
        request = csr(NODE, joiner.key, subject=organization, common_name="kubeedge.io")
        answered = await joiner.ask("GET", "/edge.crt", request, headers | {"NodeName": NODE})
        assert answered.status == 200, answered.text
        joiner.certificate = x509.load_der_x509_certificate(answered.body)
        subject = joiner.certificate.subject.rfc4514_string()
        assert subject == f"CN=system:node:{NODE},O=system:nodes"
    # By the certificate of this node it gets none for another one.
    request = csr("edge-2", joiner.key, subject=organization, common_name="kubeedge.io")
    answered = await joiner.ask("GET", "/edge.crt", request, {"NodeName": "edge-2"})
    assert answered.status == 403


async def test_names_of_the_request_are_not_certified(door: Door) -> None:
    joiner = door.joiner()
    await joiner.get_ca()
    headers = bearer(joiner) | {"NodeName": NODE}
    answered = await joiner.ask("GET", "/edge.crt", csr(NODE, sans=("cloud.example",)), headers)
    certificate = x509.load_der_x509_certificate(answered.body)
    with pytest.raises(x509.ExtensionNotFound):
        certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)


async def test_an_edge_renews_with_its_certificate(door: Door) -> None:
    joiner = await door.joined()
    first = joiner.certificate
    renewed = await joiner.renew(NODE)
    assert first and renewed.serial_number != first.serial_number
    assert renewed.public_key() == joiner.key.public_key()


async def test_a_certificate_renews_no_other_node(door: Door) -> None:
    joiner = await door.joined()
    answered = await joiner.ask("GET", "/edge.crt", csr("edge-2"), {"NodeName": "edge-2"})
    assert answered.status == 403
    assert "'edge-1'" in answered.text
    assert "'edge-2'" in answered.text


async def test_a_certificate_of_another_ca_is_refused(door: Door) -> None:
    joiner = door.joiner()
    await joiner.get_ca()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"system:node:{NODE}")])
    stranger = new_key()
    now = datetime.now(UTC)
    joiner.key = stranger
    joiner.certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(stranger.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .sign(
            stranger,
            hashes.SHA256(),
        )
    )
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await joiner.ask("GET", "/edge.crt", csr(NODE), {"NodeName": NODE})


async def refused(
    door: Door, body: bytes | None = None, joiner: Joiner | None = None, **headers: str
) -> tuple[int, str]:
    """Ask for the certificate of NODE with a good token, but for what is given."""
    joiner = joiner or door.joiner()
    await joiner.get_ca()
    given = bearer(joiner) | {"NodeName": NODE} | headers
    request = csr(NODE) if body is None else body
    answered = await joiner.ask("GET", "/edge.crt", request, given)
    return answered.status, answered.text


async def test_who_shows_no_token_is_refused(door: Door) -> None:
    joiner = door.joiner()
    await joiner.get_ca()
    answered = await joiner.ask("GET", "/edge.crt", csr(NODE), {"NodeName": NODE})
    assert answered.status == 401
    assert "Authorization: Bearer" in answered.text
    assert answered.headers["WWW-Authenticate"] == "Bearer"


async def test_tokens_that_are_none(door: Door) -> None:
    other = signing.Authority(door.authority.certificate, new_key())
    for token, reason in (
        ("xyzzy", "not a token"),
        ("YWJj.ZGVm.Z2hp", "not a JSON web token"),
        ("a.b", "not a token"),
        ("é.é.é", "not a token"),
        (make_token(other, Claims(int(time.time()) + 60)), "not made by this cloudcore's CA"),
        (make_token(door.authority, Claims(int(time.time()) - 1)), "expired"),
    ):
        shown = token.partition(".")[2] if token.count(".") == 3 else token
        status, text = await refused(door, Authorization=f"Bearer {shown}")
        assert (status, reason in text) == (401, True), text
        assert shown not in text


async def test_a_revoked_token_is_refused_at_once(door: Door) -> None:
    joiner = door.joiner()
    await joiner.join(NODE)
    (token,) = door.tokens.tokens()
    door.tokens.revoke(token.id)
    status, text = await refused(door, joiner=Joiner(door.port, joiner.token))
    assert (status, "revoked" in text) == (401, True)


async def test_wrong_tokens_are_limited_and_counted_for_each_address(
    door: Door, caplog: pytest.LogCaptureFixture
) -> None:
    def counted() -> float:
        return REGISTRY.get_sample_value("cloudcore_cloudhub_wrong_tokens_total") or 0.0

    before = counted()
    door.routes._wrong_tokens = Callers(rate=0.01, burst=5)
    caplog.set_level(logging.WARNING)
    joiner = door.joiner()
    await joiner.get_ca()
    headers = {"Authorization": "Bearer a.b.c", "NodeName": NODE}
    answers = [await joiner.ask("GET", "/edge.crt", csr(NODE), headers) for _ in range(7)]
    assert [each.status for each in answers] == [401] * 5 + [429] * 2
    assert int(answers[-1].headers["Retry-After"]) >= 90
    assert counted() - before == 5
    lines = [each.message for each in caplog.records if "refused" in each.message]
    assert len(lines) == 1
    assert lines[0].startswith("request from 127.0.0.1 refused: the token is not accepted")


async def test_requests_for_what_an_edge_has_no_right_to(door: Door) -> None:
    for headers, reason in (
        ({"NodeName": ""}, "NodeName is missing"),
        ({"NodeName": "Edge_1"}, "cannot be a node's name"),
        ({"NodeName": "e" * 53}, "room for"),
        ({"NodeName": "../../etc"}, "cannot be a node's name"),
        ({"NodeName": "edge-2"}, "common name must be system:node:edge-2"),
        ({"ExtKeyUsages": "[1]"}, "ExtKeyUsages must be [2]"),
        ({"ExtKeyUsages": "[2,1]"}, "ExtKeyUsages must be [2]"),
        ({"ExtKeyUsages": "[]"}, "ExtKeyUsages must be [2]"),
        ({"ExtKeyUsages": "x"}, "not a JSON list"),
    ):
        status, text = await refused(door, **headers)
        assert (status, reason in text) == (400, True), text


async def test_the_usual_usage_may_be_asked_for(door: Door) -> None:
    joiner = door.joiner()
    await joiner.get_ca()
    headers = bearer(joiner) | {"NodeName": NODE, "ExtKeyUsages": "[2]"}
    assert (await joiner.ask("GET", "/edge.crt", csr(NODE), headers)).status == 200


async def test_keadm_learns_whether_there_is_a_node(door: Door, nodes: Nodes) -> None:
    joiner = door.joiner()
    await joiner.get_ca()
    nodes["there"] = True
    nodes["unknown"] = False
    answers = [await joiner.ask("GET", f"/node/{name}") for name in ("there", "not", "unknown")]
    assert [each.status for each in answers] == [200, 404, 503]
    assert [each.text for each in answers[:2]] == ["Node founded", "Node not found"]
    assert (await joiner.ask("GET", "/node/a%2Fb")).status == 400


async def test_questions_for_nodes_are_limited(door: Door) -> None:
    joiner = door.joiner()
    await joiner.get_ca()
    door.routes._questions = Callers(rate=0.01, burst=3)
    statuses = [(await joiner.ask("GET", "/node/any")).status for _ in range(5)]
    assert statuses == [404, 404, 404, 429, 429]


async def test_task_reports_need_the_nodes_certificate(door: Door) -> None:
    stranger = door.joiner()
    await stranger.get_ca()
    edge = await door.joined()
    report = b'{"NodeName":"edge-1","State":"x"}'
    for path in ("/nodeupgrade", "/task/upgrade/name/t1/node/edge-1/status"):
        assert (await stranger.ask("POST", path, report)).status == 401
        answered = await edge.ask("POST", path, report)
        assert (answered.status, "no node tasks" in answered.text) == (501, True)
    other = await edge.ask("POST", "/task/upgrade/name/t1/node/edge-2/status", report)
    assert other.status == 403
    assert (await edge.ask("POST", "/nodeupgrade", b'{"NodeName":"edge-2"}')).status == 403
    assert (await edge.ask("POST", "/nodeupgrade", b"\xff")).status == 400


async def test_a_certificate_that_is_not_a_nodes_reports_nothing(door: Door) -> None:
    """The administrator's is of the same CA."""
    joiner = door.joiner()
    await joiner.get_ca()
    certificate, key = signing.load(door.pki.admin_cert, door.pki.admin_key)
    joiner.certificate, joiner.key = certificate, key  # type: ignore[assignment]
    assert (await joiner.ask("POST", "/nodeupgrade", b"{}")).status == 401
    answered = await joiner.ask("GET", "/edge.crt", csr(NODE), {"NodeName": NODE})
    assert (answered.status, "of no node" in answered.text) == (403, True)


async def test_the_subject_of_edges_before_1_16_renews_nothing(door: Door) -> None:
    """Nor does another organization of the CA's, whatever its common name."""
    joiner = door.joiner()
    await joiner.get_ca()
    usage = ExtendedKeyUsageOID.CLIENT_AUTH
    for name, group in (("kubeedge.io", "KubeEdge"), (f"system:node:{NODE}", "KubeEdge")):
        subject = signing.subject(name, group)
        joiner.certificate = signing.sign(door.authority, joiner.key.public_key(), subject, usage)
        answered = await joiner.ask("GET", "/edge.crt", csr(NODE), {"NodeName": NODE})
        assert (answered.status, "of no node" in answered.text) == (403, True)


async def test_other_paths_and_methods(door: Door) -> None:
    joiner = door.joiner()
    await joiner.get_ca()
    for method, path, status in (
        ("GET", "/", 404),
        ("GET", "/healthz", 404),
        ("POST", "/ca.crt", 405),
        ("PUT", "/edge.crt", 405),
        ("DELETE", "/node/edge-1", 405),
        ("GET", "/nodeupgrade", 405),
    ):
        answered = await joiner.ask(method, path)
        assert answered.status == status, path
        assert ("Allow" in answered.headers) is (status == 405)


@pytest.mark.parametrize("file", ["pki/ca.key", "tokens.json"])
async def test_files_that_cannot_be_read_are_said_once(
    door: Door, caplog: pytest.LogCaptureFixture, file: str
) -> None:
    caplog.set_level(logging.INFO)
    path = door.pki.directory.parent / file
    joiner = door.joiner()
    content = path.read_bytes()
    path.write_bytes(b"nonsense")
    for _ in range(2):
        status, text = await refused(door, joiner=joiner)
        assert (status, "see cloudcore's log" in text) == (503, True)
    assert len([each for each in caplog.records if "edges cannot join" in each.message]) == 1
    path.write_bytes(content)
    await joiner.join(NODE)
    assert "edges can join again" in caplog.text


async def test_a_copy_that_cannot_be_kept_keeps_no_edge_out(
    door: Door, caplog: pytest.LogCaptureFixture
) -> None:
    door.pki.nodes.write_text("a file in place of the directory")
    await door.joined()
    assert f"node {NODE}: cannot keep a copy of its certificate" in caplog.text


async def test_a_failure_of_ours_is_logged_and_ends_nothing(
    door: Door, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*_: Any) -> None:
        raise RuntimeError("by chance")

    joiner = door.joiner()
    await joiner.get_ca()
    with monkeypatch.context() as patched:
        patched.setattr(door.routes, "_sign", fails)
        status, text = await refused(door, joiner=joiner)
    assert (status, text) == (500, "internal error: see cloudcore's log\n")
    assert "by chance" in caplog.text
    await joiner.join(NODE)
