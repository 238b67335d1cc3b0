"""The names of this host, which the server's certificate has, and how many it keeps."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace

import pytest
from cryptography import x509

from modules.cloudhub.config import CloudHubConfig
from modules.cloudhub.endpoint.tls import tls_files
from modules.common.pki import host_names, signing
from modules.common.pki.certificates import Pki, ensure_pki
from modules.common.pki.host_names import own_addresses, own_names
from supervisor.api import Settings


def interfaces(
    monkeypatch: pytest.MonkeyPatch, found: Mapping[str, list[str]], name: str = "Cloud-1"
) -> None:
    """Let the host have these addresses, and no default route."""
    addresses = {
        interface: [
            SimpleNamespace(family=socket.AF_INET6 if ":" in each else socket.AF_INET, address=each)
            for each in listed
        ]
        for interface, listed in found.items()
    }
    monkeypatch.setattr(host_names.psutil, "net_if_addrs", lambda: addresses)
    monkeypatch.setattr(host_names, "_default_routes", list)
    monkeypatch.setattr(socket, "gethostname", lambda: name)


def names(pki: Pki) -> list[str]:
    certificates = [
        x509.load_pem_x509_certificate(path.read_bytes())
        for path in (pki.server_cert, pki.server_rsa_cert)
    ]
    found, same = map(signing.names_of, certificates)
    assert found == same
    return found


def test_loopback_and_link_local_addresses_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {
        "lo": ["127.0.0.1", "::1"],
        "eth0": ["10.0.0.5", "fe80::1%eth0", "2001:db8::5", "169.254.1.1"],
    }
    interfaces(monkeypatch, found)
    assert own_names() == ["cloud-1", "10.0.0.5", "2001:db8::5"]


def test_a_host_of_many_containers_has_the_first_sixteen(monkeypatch: pytest.MonkeyPatch) -> None:
    interfaces(monkeypatch, {"br0": [f"10.0.0.{n}" for n in range(1, 200)]}, name="Not_A_Name")
    monkeypatch.setattr(host_names, "_default_routes", lambda: ["192.0.2.9"])
    assert own_addresses()[0] == "192.0.2.9"
    assert len(own_names()) == 16


def test_this_host_has_names() -> None:
    for address in own_addresses():
        assert "%" not in address
        signing.general_name(address)


def test_an_address_that_changes_makes_a_new_certificate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(tmp_path, tmp_path)
    pki = Pki(tmp_path / "pki")
    interfaces(monkeypatch, {"eth0": ["10.0.0.5"]})
    tls_files(CloudHubConfig(names=["cloud.example"]), settings)
    before = names(pki)
    assert {"cloud.example", "cloud-1", "10.0.0.5", "localhost", "127.0.0.1"} == set(before)
    ca = pki.ca_cert.read_bytes()
    interfaces(monkeypatch, {"eth0": ["10.0.0.6"]})
    tls_files(CloudHubConfig(names=["cloud.example"]), settings)
    assert "10.0.0.6" in names(pki)
    assert pki.ca_cert.read_bytes() == ca
    unchanged = pki.server_cert.read_bytes()
    tls_files(CloudHubConfig(names=["cloud.example"]), settings)
    assert pki.server_cert.read_bytes() == unchanged


def test_where_it_listens_is_all_that_is_named_if_it_is_one_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interfaces(monkeypatch, {"eth0": ["10.0.0.5"]})
    tls_files(CloudHubConfig(address="10.1.1.1"), Settings(tmp_path, tmp_path))
    assert set(names(Pki(tmp_path / "pki"))) == {"localhost", "127.0.0.1", "10.1.1.1"}


def test_addresses_that_come_and_go_do_not_add_up(tmp_path: Path) -> None:
    for number in range(0, 200, 16):
        wanted = [f"10.0.0.{number + each}" for each in range(16)]
        ensure_pki(tmp_path / "pki", wanted)
        found = names(Pki(tmp_path / "pki"))
        assert set(wanted) < set(found)
        assert len(found) <= 64
    assert "10.0.0.0" not in found
    assert "10.0.0.170" in found  # of the time before: another module may still name it
