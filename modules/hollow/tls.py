"""The TLS context of a hollow edge: its certificate, and the CA that it trusts."""

from __future__ import annotations

import ssl
import tempfile
from pathlib import Path
from typing import Final

from modules.common.pki import certificates

_FILES: Final = ("rootCA.crt", "edge.crt", "edge.key")


def from_directory(directory: Path) -> ssl.SSLContext:
    """Use `rootCA.crt`, `edge.crt` and `edge.key`, as `cloudcore certs issue` writes them.

    OSError if a file cannot be read, ssl.SSLError (an OSError too) if they do not fit together.
    """
    # A Go edge of v1.1 verifies nothing. We do check the CA, but no name: nodes reach the cloud
    # by whatever address their network has for it.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    authority, certificate, key = (directory / name for name in _FILES)
    for path in (authority, certificate, key):
        path.open("rb").close()  # raises an error that names the file, as OpenSSL's do not
    context.load_verify_locations(authority)
    context.load_cert_chain(certificate, key)
    return context


def issue(pki_dir: Path, node: str) -> ssl.SSLContext:
    """Have cloudcore's own CA make a certificate for the node; nothing of it stays on disk.

    ValueError for a name no node can have, OSError if the CA's directory cannot be used.
    """
    issued = certificates.issue_node(pki_dir, node)
    with tempfile.TemporaryDirectory(prefix="cloudcore-hollow-") as name:
        directory = Path(name)
        certificates.write_node_files(directory, pki_dir, issued)
        return from_directory(directory)


def from_pem(ca: bytes, certificate: bytes, key: bytes, *, check_hostname: bool) -> ssl.SSLContext:
    """Use the PEM texts of a CA, a client certificate and its key; nothing stays on disk."""
    context = trusting(ca, check_hostname=check_hostname)
    with tempfile.NamedTemporaryFile(prefix="cloudcore-hollow-") as file:
        file.write(certificate + key)
        file.flush()
        context.load_cert_chain(file.name)
    return context


def trusting(ca: bytes, *, check_hostname: bool) -> ssl.SSLContext:
    """Return a context of a client that trusts a CA (PEM), and has no certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = check_hostname
    context.load_verify_locations(cadata=ca.decode())
    return context
