"""Checks of certificates, each well and wrong."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from ipc.files import PUBLIC, replace_file
from modules.common.pki import checks as pki_checks
from modules.common.pki import signing
from modules.common.pki.authority import (
    AuthorityFiles,
    load_authority,
    new_authority,
    write_authority,
)
from modules.common.pki.certificates import Pki, ensure_pki, issue_node, record_node, sign_node
from supervisor.api import Finding
from tests.support.pki import copy_pki


@pytest.fixture
def own(tmp_path: Path, pki: Pki) -> Pki:
    copy_pki(pki, tmp_path)
    shutil.copy(pki.authority.fingerprint, tmp_path)
    return Pki(tmp_path / "pki")


def command(*words: str) -> str:
    return " ".join(("cloudcore", *words))


def authority(own: Pki) -> list[Finding]:
    return list(pki_checks.own_authority(own))


def certificates(own: Pki, *names: str) -> list[Finding]:
    return list(pki_checks.own_certificates(own, names, command))


def signed(own: Pki, days: float, *, by: signing.Authority | None = None) -> bytes:
    key = signing.load(own.server_cert, own.server_key)[0].public_key()
    assert isinstance(key, signing.PublicKey)
    certificate = signing.sign(
        by or load_authority(own.authority),
        key,
        signing.subject("cloudcore", None),
        ExtendedKeyUsageOID.SERVER_AUTH,
        x509.SubjectAlternativeName([x509.DNSName("localhost")]),
        lifetime=timedelta(days=days),
    )
    return signing.certificate_pem(certificate)


def put(path: Path, data: bytes) -> None:
    replace_file(path, data, PUBLIC)


def test_all_is_well(own: Pki) -> None:
    assert authority(own) == []
    [finding] = certificates(own, "127.0.0.1")
    assert finding.mark == "ok"
    assert finding.text.startswith("all 4 certificates are good; the first to expire is ")


def test_before_the_first_start(tmp_path: Path) -> None:
    [finding] = authority(Pki(tmp_path / "pki"))
    assert finding.mark == "note"
    assert "cloudcore makes it" in finding.text
    assert certificates(Pki(tmp_path / "pki")) == []
    assert not (tmp_path / "pki").exists()


def lose_the_certificate(own: Pki) -> None:
    own.ca_cert.unlink()


def lose_the_key(own: Pki) -> None:
    own.ca_key.unlink()


def mix_up_the_key(own: Pki) -> None:
    own.ca_key.write_bytes(signing.key_pem(signing.new_key()))


def replace_the_authority(own: Pki) -> None:
    write_authority(own.authority, new_authority())


def damage_the_memory(own: Pki) -> None:
    own.authority.fingerprint.write_text("?")


def damage_the_certificate(own: Pki) -> None:
    own.ca_cert.write_text("?")


@pytest.mark.parametrize(
    ("harm", "text"),
    [
        (lose_the_certificate, "is missing, and edges trust that CA"),
        (lose_the_key, "ca.key is missing, the key of the CA"),
        (mix_up_the_key, "ca.key is not the key of"),
        (replace_the_authority, "is not the CA that edges trust"),
        (damage_the_memory, "is damaged: restore it"),
        (damage_the_certificate, "cannot read"),
    ],
)
def test_the_authority_is_not_well(own: Pki, harm: Callable[[Pki], None], text: str) -> None:
    harm(own)
    [finding] = authority(own)
    assert finding.mark == "wrong"
    assert text in finding.text
    assert "restore" in finding.text or "damaged" in finding.text or "cannot read" in finding.text


@pytest.mark.parametrize(
    ("ends", "mark", "text"),
    [(-1, "wrong", "expired on"), (20, "note", "expires on"), (200, "note", "has to join again")],
)
def test_an_authority_that_ends(
    own: Pki, monkeypatch: pytest.MonkeyPatch, ends: int, mark: str, text: str
) -> None:
    monkeypatch.setattr(signing, "CA_LIFETIME", timedelta(days=ends))
    own.authority.fingerprint.unlink()
    if ends < 0:  # a certificate cannot end before it begins
        monkeypatch.setattr(signing, "CLOCK_SKEW", timedelta(days=9))
    write_authority(own.authority, new_authority())
    [finding] = authority(own)
    assert (finding.mark, text in finding.text) == (mark, True), finding


@pytest.mark.parametrize(
    ("days", "mark", "text"),
    [(10, "note", "the certificate server is expiring"), (-1, "wrong", "server is expired")],
)
def test_a_servers_certificate_that_ends(
    own: Pki, monkeypatch: pytest.MonkeyPatch, days: float, mark: str, text: str
) -> None:
    monkeypatch.setattr(signing, "CLOCK_SKEW", timedelta(days=9))
    put(own.server_cert, signed(own, days))
    [finding] = certificates(own)
    assert (finding.mark, finding.command) == (mark, "cloudcore certs renew server")
    assert text in finding.text


def test_a_servers_certificate_of_another_authority(own: Pki) -> None:
    put(own.server_cert, signed(own, 300, by=new_authority()))
    [finding] = certificates(own)
    assert (finding.mark, finding.command) == ("wrong", "cloudcore certs renew server")
    assert "server is foreign" in finding.text


def test_a_key_of_another_certificate(own: Pki) -> None:
    own.server_rsa_key.write_bytes(own.server_key.read_bytes())
    [finding] = certificates(own)
    assert finding == Finding.wrong(
        f"{own.server_rsa_key} is not the key of {own.server_rsa_cert}",
        "cloudcore certs renew server",
    )
    own.server_rsa_key.unlink()
    [finding] = certificates(own)
    assert finding.mark == "wrong"
    assert "No such file" in finding.text


def test_the_command_mends_it(own: Pki) -> None:
    own.server_rsa_key.write_bytes(own.server_key.read_bytes())
    assert [each.mark for each in certificates(own)] == ["wrong"]
    ensure_pki(own.directory, (), renew=("server",))
    assert [each.mark for each in certificates(own)] == ["ok"]


def test_the_admins_certificate(own: Pki) -> None:
    put(own.admin_cert, signed(own, 300, by=new_authority()))
    [finding] = certificates(own)
    assert finding.command == "cloudcore certs renew admin"


def test_one_that_is_not_valid_yet(own: Pki, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signing, "CLOCK_SKEW", timedelta(days=-2))
    put(own.server_cert, signed(own, 300))
    [finding] = certificates(own)
    assert (finding.mark, finding.command) == ("wrong", "date")
    assert "server is not valid before" in finding.text


def test_names_that_a_servers_certificate_lacks(own: Pki) -> None:
    [note, good] = certificates(own, "cloud.example", "127.0.0.1")
    assert note.text.startswith("the server's certificate lacks cloud.example: cloudcore makes")
    assert (note.mark, good.mark) == ("note", "ok")


def test_certificates_of_nodes(own: Pki, monkeypatch: pytest.MonkeyPatch) -> None:
    issue_node(own.directory, "good", record=True)
    assert [each.mark for each in certificates(own)] == ["ok"]
    monkeypatch.setattr(signing, "CLOCK_SKEW", timedelta(days=9))
    for name, days in (("late", -1), ("soon", 5)):
        key = signing.new_key().public_key()
        trusted = load_authority(own.authority)
        record_node(own, name, sign_node(trusted, name, key, timedelta(days=days)))
    late, soon = certificates(own)
    assert (late.mark, late.command) == ("wrong", "cloudcore certs issue late --out DIR")
    assert "if there is no such node any more, remove" in late.text
    assert (soon.mark, soon.command) == ("note", "cloudcore certs issue soon --out DIR")


def test_a_file_that_is_no_certificate(own: Pki) -> None:
    own.admin_cert.write_text("?")
    [finding] = certificates(own)
    assert finding.mark == "wrong"
    assert finding.text.startswith(f"cannot read {own.admin_cert}")


# Files that the configuration names.


def configured(own: Pki, *names: str, key: bool = True) -> list[Finding]:
    files = AuthorityFiles(own.ca_cert, own.ca_key, own.authority.fingerprint)
    which = files if key else own.ca_cert
    return list(pki_checks.configured_files(which, own.server_cert, own.server_key, names))


def test_configured_files_are_well(own: Pki) -> None:
    [finding] = configured(own, "localhost")
    ends = x509.load_pem_x509_certificate(own.server_cert.read_bytes()).not_valid_after_utc
    assert finding == Finding.ok(f"{own.server_cert} is good until {ends:%Y-%m-%d}")
    assert ends > datetime.now(UTC)


def test_without_a_key_of_the_authority_nobody_joins(own: Pki) -> None:
    note, good = configured(own, key=False)
    assert (note.mark, good.mark) == ("note", "ok")
    assert "no edge can join; set modules.cloudhub.ca_key" in note.text


@pytest.mark.parametrize(
    ("harm", "text"),
    [
        (mix_up_the_key, "correct modules.cloudhub.ca_key"),
        (lose_the_key, "correct modules.cloudhub.ca_key"),
        (lose_the_certificate, "correct [modules.cloudhub]"),
        (replace_the_authority, "is not signed by"),
        (lambda own: own.server_key.unlink(), "No such file"),
        (lambda own: put(own.server_key, own.ca_key.read_bytes()), "is not the key of"),
        (lambda own: put(own.server_cert, b"?"), "correct [modules.cloudhub]"),
    ],
)
def test_configured_files_that_are_not_well(
    own: Pki, harm: Callable[[Pki], None], text: str
) -> None:
    harm(own)
    findings = configured(own)
    assert [each.mark for each in findings] == ["wrong"]
    assert text in findings[0].text


def test_a_configured_certificate_that_ends(own: Pki, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signing, "CLOCK_SKEW", timedelta(days=9))
    put(own.server_cert, signed(own, -1))
    [finding] = configured(own)
    assert (finding.mark, "have another one signed" in finding.text) == ("wrong", True)
    put(own.server_cert, signed(own, 5))
    note, _ = configured(own)
    assert (note.mark, "expires on" in note.text) == ("note", True)


def test_names_that_a_configured_certificate_lacks(own: Pki) -> None:
    [finding] = configured(own, "cloud.example", "localhost")
    assert finding.mark == "wrong"
    assert "lacks cloud.example: edges that dial these do not accept it" in finding.text
    assert finding.command == f"openssl x509 -in {own.server_cert} -noout -text"
