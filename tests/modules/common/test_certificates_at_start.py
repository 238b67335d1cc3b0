"""Modules that start at the same time share a server's certificate, and each adds its names."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from modules.apiserver.http.served_certificate import ServedCertificate
from modules.cloudhub.endpoint.tls import ServerTls, TlsFiles
from modules.common.pki.certificates import Pki, ensure_pki, unchanged
from tests.support.pki import copy_pki


def of_the_api_server(pki: Pki) -> ssl.SSLContext:
    return ServedCertificate(pki, []).context


def of_cloudhub(pki: Pki) -> ssl.SSLContext:
    return ServerTls(TlsFiles.of(pki)).context


@pytest.mark.parametrize("load", [of_the_api_server, of_cloudhub])
def test_a_certificate_is_not_read_between_its_replacement_and_that_of_its_key(
    pki: Pki, tmp_path: Path, load: Callable[[Pki], ssl.SSLContext]
) -> None:
    copy_pki(pki, tmp_path)
    own = Pki(tmp_path / "pki")
    other = ensure_pki(tmp_path / "other" / "pki", [])
    loaded: list[ssl.SSLContext] = []
    loading = threading.Thread(target=lambda: loaded.append(load(own)))
    with unchanged(own):  # as who replaces them
        own.server_cert.write_bytes(other.server_cert.read_bytes())
        loading.start()
        loading.join(0.2)
        assert not loaded
        assert loading.is_alive()
        own.server_key.write_bytes(other.server_key.read_bytes())
    loading.join(10)
    assert loaded
