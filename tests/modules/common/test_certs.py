from __future__ import annotations

import json
import multiprocessing
import stat
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from modules.common.pki import signing
from modules.common.pki.certificates import ALWAYS_NAMED, ensure_pki, issue_node
from modules.common.pki.cli import certs as command
from supervisor.cli.options import Globals


def names_of(path: Path) -> set[str]:
    certificate = x509.load_pem_x509_certificate(path.read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return {str(name.value) for name in names.value}


def snapshot(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_everything_is_made_once(tmp_path: Path) -> None:
    pki = ensure_pki(tmp_path / "pki", ["cloud.example.com", "10.0.0.1"])
    before = snapshot(pki.directory)
    assert ensure_pki(tmp_path / "pki", ["10.0.0.1"]) == pki
    assert snapshot(pki.directory) == before
    assert names_of(pki.server_cert) == {"localhost", "127.0.0.1", "cloud.example.com", "10.0.0.1"}
    admin = x509.load_pem_x509_certificate(pki.admin_cert.read_bytes())
    assert admin.subject.rfc4514_string() == "CN=kubernetes-admin,O=system:masters"
    authority = x509.load_pem_x509_certificate(pki.ca_cert.read_bytes())
    for path in (pki.server_cert, pki.server_rsa_cert, pki.admin_cert):
        x509.load_pem_x509_certificate(path.read_bytes()).verify_directly_issued_by(authority)
    for path in (pki.ca_key, pki.server_key, pki.admin_key):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        key = load_pem_private_key(path.read_bytes(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        assert path.read_text().startswith("-----BEGIN EC PRIVATE KEY-----")  # as Go reads it
    key = load_pem_private_key(pki.server_rsa_key.read_bytes(), None)
    assert isinstance(key, rsa.RSAPrivateKey)
    assert key.key_size == 2048
    assert names_of(pki.server_rsa_cert) == names_of(pki.server_cert)


def test_a_new_name_gets_a_new_certificate_with_the_old_names(tmp_path: Path) -> None:
    pki = ensure_pki(tmp_path, ["a.example.com"])
    authority = pki.ca_cert.read_bytes()
    ensure_pki(tmp_path, ["b.example.com", "fd00:0::1"])
    assert names_of(pki.server_cert) >= {"a.example.com", "b.example.com", "fd00::1"}
    assert pki.ca_cert.read_bytes() == authority
    before = pki.server_cert.read_bytes()
    ensure_pki(tmp_path, ["fd00:0:0::1"])
    assert pki.server_cert.read_bytes() == before


def test_what_is_about_to_expire_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signing, "LEAF_LIFETIME", timedelta(days=10))
    pki = ensure_pki(tmp_path, [])
    before = snapshot(tmp_path)
    monkeypatch.undo()
    ensure_pki(tmp_path, [])
    after = snapshot(tmp_path)
    assert after["ca.crt"] == before["ca.crt"]
    assert after["server.crt"] != before["server.crt"]
    assert after["admin.crt"] != before["admin.crt"]
    assert pki.server_cert.exists()


def test_what_is_not_valid_yet_is_made_anew(tmp_path: Path) -> None:
    """It was made while the clock was ahead."""
    pki = ensure_pki(tmp_path, [])
    authority = signing.Authority(*signing.load(pki.ca_cert, pki.ca_key))
    ahead = signing.CLOCK_SKEW
    try:
        signing.CLOCK_SKEW = timedelta(days=-1)
        key = signing.load(pki.server_cert, pki.server_key)[1]
        names = x509.SubjectAlternativeName([signing.general_name(n) for n in ALWAYS_NAMED])
        subject = signing.subject("cloudcore", None)
        early = signing.sign(
            authority, key.public_key(), subject, x509.ExtendedKeyUsageOID.SERVER_AUTH, names
        )
    finally:
        signing.CLOCK_SKEW = ahead
    pki.server_cert.write_bytes(signing.certificate_pem(early))
    ensure_pki(tmp_path, [])
    made = x509.load_pem_x509_certificate(pki.server_cert.read_bytes())
    assert made.not_valid_before_utc < early.not_valid_before_utc


def test_a_key_without_its_certificate_is_replaced(tmp_path: Path) -> None:
    """A kill between the writing of the two leaves that."""
    pki = ensure_pki(tmp_path, [])
    pki.server_key.write_bytes(pki.admin_key.read_bytes())
    ensure_pki(tmp_path, [])
    key = load_pem_private_key(pki.server_key.read_bytes(), None)
    certificate = x509.load_pem_x509_certificate(pki.server_cert.read_bytes())
    assert key.public_key() == certificate.public_key()


def test_a_ca_key_that_is_not_the_cas_is_an_error(tmp_path: Path) -> None:
    pki = ensure_pki(tmp_path, [])
    pki.ca_key.write_bytes(pki.admin_key.read_bytes())
    with pytest.raises(ValueError, match=r"is not the key of .*ca\.crt"):
        ensure_pki(tmp_path, [])


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    pki = ensure_pki(tmp_path, [])
    pki.server_cert.write_text("nonsense")
    with pytest.raises(ValueError, match=r"server\.crt"):
        ensure_pki(tmp_path, [])


def test_several_processes_at_once_agree(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [
        context.Process(target=ensure_pki, args=(tmp_path, [f"{number}.example.com"]))
        for number in range(3)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(20)
        assert process.exitcode == 0
    before = snapshot(tmp_path)
    pki = ensure_pki(tmp_path, [f"{number}.example.com" for number in range(3)])
    assert snapshot(tmp_path) == before
    authority = x509.load_pem_x509_certificate(pki.ca_cert.read_bytes())
    server = x509.load_pem_x509_certificate(pki.server_cert.read_bytes())
    server.verify_directly_issued_by(authority)


def test_a_nodes_certificate(tmp_path: Path) -> None:
    pem, key_pem = issue_node(tmp_path, "edge-1.example.com")
    certificate = x509.load_pem_x509_certificate(pem)
    assert (
        certificate.subject.rfc4514_string() == "CN=system:node:edge-1.example.com,O=system:nodes"
    )
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    assert usage.value == x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.CLIENT_AUTH])
    key = load_pem_private_key(key_pem, None)
    assert key.public_key() == certificate.public_key()
    certificate.verify_directly_issued_by(
        x509.load_pem_x509_certificate((tmp_path / "ca.crt").read_bytes())
    )


@pytest.mark.parametrize("node", ["", "Upper", "-a", "a/b", "a b", "x" * 53])
def test_names_that_no_node_can_have(tmp_path: Path, node: str) -> None:
    with pytest.raises(ValueError, match="node's name"):
        issue_node(tmp_path, node)


def test_certs_issue(tmp_path: Path) -> None:
    data, out = tmp_path / "data", tmp_path / "out"
    arguments = ["issue", "edge-1", "--out", str(out), "--data-dir", str(data)]
    result = CliRunner().invoke(command, arguments)
    assert result.exit_code == 0, result.output
    assert str(out) in result.output
    assert {path.name for path in out.iterdir()} == {"rootCA.crt", "edge.crt", "edge.key"}
    assert stat.S_IMODE((out / "edge.key").stat().st_mode) == 0o600
    assert (out / "rootCA.crt").read_bytes() == (data / "pki" / "ca.crt").read_bytes()


def test_certs_issue_takes_the_data_directory_of_the_whole_command(tmp_path: Path) -> None:
    class Paths:
        data_dir = tmp_path / "data"

    result = CliRunner().invoke(command, ["issue", "n", "--out", str(tmp_path / "o")], obj=Paths())
    assert result.exit_code == 0, result.output
    assert (tmp_path / "data" / "pki" / "ca.crt").exists()


def test_certs_issue_says_what_is_wrong(tmp_path: Path) -> None:
    arguments = ["issue", "Bad_Name", "--out", str(tmp_path / "o"), "--data-dir", str(tmp_path)]
    result = CliRunner().invoke(command, arguments)
    assert result.exit_code == 1
    assert "Bad_Name" in result.output
    (tmp_path / "file").write_text("")
    arguments = ["issue", "n", "--out", str(tmp_path / "file" / "o"), "--data-dir", str(tmp_path)]
    result = CliRunner().invoke(command, arguments)
    assert result.exit_code == 1
    assert "cannot write" in result.output


def test_certs_issue_for_several_nodes_has_a_directory_for_each(tmp_path: Path) -> None:
    arguments = ["issue", "edge-1", "../other", "edge-2", "--data-dir", str(tmp_path)]
    result = CliRunner().invoke(command, [*arguments, "--out", str(tmp_path / "out")])
    assert result.exit_code == 1
    assert "../other" in result.stderr
    for node in ("edge-1", "edge-2"):
        assert f"{node}: rootCA.crt, edge.crt and edge.key are in" in result.stdout
        files = {each.name for each in (tmp_path / "out" / node).iterdir()}
        assert files >= {"rootCA.crt", "edge.crt", "edge.key"}
    assert not (tmp_path / "other").exists()


class Said(Globals):
    """The global options of `cloudcore`, with a configuration of the test's own."""

    def __init__(self, directory: Path) -> None:
        super().__init__(run_dir=directory / "run", data_dir=directory)

    def load(self) -> SimpleNamespace:
        """Two modules that listen, and one that does not."""
        return SimpleNamespace(
            modules=[
                SimpleNamespace(config=SimpleNamespace(address="0.0.0.0", names=["cloud.example"])),
                SimpleNamespace(config=SimpleNamespace(address="192.0.2.7", names=["10.1.2.3"])),
                SimpleNamespace(config=SimpleNamespace(workers=8)),
            ]
        )


def invoke(said: Said, *arguments: str) -> Result:
    return CliRunner().invoke(command, arguments, obj=said)


def listed(said: Said) -> dict[str, Any]:
    result = invoke(said, "list", "-o", "json")
    assert result.exit_code == 0, result.output
    return {each["name"]: each for each in json.loads(result.output)}


def test_certs_init_takes_names_from_the_configuration(tmp_path: Path) -> None:
    said = Said(tmp_path)
    result = invoke(said, "init")
    assert result.exit_code == 0, result.output
    assert [line.split()[0] for line in result.output.splitlines()] == [
        "NAME",
        "ca",
        "server",
        "server-rsa",
        "admin",
    ]
    names = {"localhost", "127.0.0.1", "cloud.example", "192.0.2.7", "10.1.2.3"}
    assert names_of(tmp_path / "pki" / "server.crt") == names
    before = snapshot(tmp_path / "pki")
    assert all(
        stat.S_IMODE((tmp_path / "pki" / name).stat().st_mode) == 0o600
        for name in before
        if name.endswith(".key")
    )
    assert invoke(said, "init").exit_code == 0
    assert snapshot(tmp_path / "pki") == before


def test_certs_list_shows_what_was_issued(tmp_path: Path) -> None:
    said = Said(tmp_path)
    empty = invoke(said, "list")
    assert (empty.exit_code, "certs init" in empty.output) == (0, True)
    invoke(said, "init")
    invoke(said, "issue", "edge-b", "--out", str(tmp_path / "b"))
    invoke(said, "issue", "edge-a.example", "--out", str(tmp_path / "a"))
    assert not list((tmp_path / "pki" / "nodes").glob("*.key"))
    found = listed(said)
    assert list(found) == ["ca", "server", "server-rsa", "admin", "edge-a.example", "edge-b"]
    assert found["edge-b"]["subject"] == "CN=system:node:edge-b,O=system:nodes"
    assert found["edge-b"]["kind"] == "node"
    assert {each["state"] for each in found.values()} == {"good"}
    table = invoke(said, "list").output
    assert "CN=system:node:edge-b,O=system:nodes" in table
    assert "364d" in table


def test_certs_list_tells_what_is_not_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = Said(tmp_path)
    invoke(said, "init")
    for node, days in (("soon", 10), ("over", -1)):
        monkeypatch.setattr(signing, "LEAF_LIFETIME", timedelta(days=days))
        monkeypatch.setattr(signing, "CLOCK_SKEW", timedelta(days=2))
        invoke(said, "issue", node, "--out", str(tmp_path / node))
    monkeypatch.undo()
    other = tmp_path / "other"
    invoke(Said(other), "issue", "alien", "--out", str(tmp_path / "alien"))
    (other / "pki" / "nodes" / "alien.crt").rename(tmp_path / "pki" / "nodes" / "alien.crt")
    states = {name: each["state"] for name, each in listed(said).items()}
    assert states == {
        **dict.fromkeys(("ca", "server", "server-rsa", "admin"), "good"),
        "soon": "expiring",
        "over": "expired",
        "alien": "foreign",
    }
    told = invoke(said, "renew").output
    assert "soon: expiring" in told
    assert "over: expired" in told
    assert "certs issue over" in told
    (tmp_path / "pki" / "nodes" / "damaged.crt").write_text("nonsense")
    result = invoke(said, "list")
    assert result.exit_code == 1
    assert "damaged.crt" in result.output


def test_certs_renew_makes_anew_what_is_due_or_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = Said(tmp_path)
    result = invoke(said, "renew")
    assert result.exit_code == 1
    assert "certs init" in result.output
    monkeypatch.setattr(signing, "LEAF_LIFETIME", timedelta(days=10))
    invoke(said, "init")
    monkeypatch.undo()
    serials = {name: each["serial"] for name, each in listed(said).items()}
    result = invoke(said, "renew")
    assert "server: renewed" in result.output
    assert "admin: renewed" in result.output
    renewed = {name: each["serial"] for name, each in listed(said).items()}
    assert renewed["ca"] == serials["ca"]
    assert renewed["server"] != serials["server"]
    assert "nothing has less than 30 days" in invoke(said, "renew").output

    result = invoke(said, "renew", "server")
    assert result.exit_code == 0, result.output
    last = {name: each["serial"] for name, each in listed(said).items()}
    assert last["server"] != renewed["server"]
    assert last["admin"] == renewed["admin"]
    assert "cloud.example" in names_of(tmp_path / "pki" / "server.crt")

    result = invoke(said, "renew", "ca", "edge-1")
    assert result.exit_code == 2
    assert "ca, edge-1" in result.output
