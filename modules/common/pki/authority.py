"""The CA: created once, and never silently replaced.

Every edge trusts the CA that signed its certificate, and cannot connect after a change of the CA.
So the fingerprint of the CA is recorded beside the PKI directory. A missing or different CA is an
error; only `cloudcore certs init --new-ca` accepts a new one.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from ipc.files import PUBLIC, replace_file
from modules.common.pki import signing

log = logging.getLogger(__name__)

_FINGERPRINT: Final = re.compile(r"^sha256:([0-9a-f]{64})$", re.MULTILINE)
_EXPLAINED: Final = (
    "# Fingerprint of the CA that edges trust. While this file is here, cloudcore makes no other\n"
    "# CA; `cloudcore certs init --new-ca` does.\n"
)
_NEW: Final = (
    "or, if it is lost, make a new one with `cloudcore certs init --new-ca`: then every edge needs "
    "new files from `cloudcore certs issue`"
)


@dataclass(frozen=True)
class AuthorityFiles:
    """Paths of the CA's PEM files, and of the file with its fingerprint."""

    cert: Path
    key: Path
    fingerprint: Path


def ensure_authority(files: AuthorityFiles, *, replace: bool = False) -> signing.Authority:
    """Return the CA; create it if there has never been one.

    With `replace`, a missing CA is created again, and a different one than recorded is accepted.
    Raises ValueError, which says what to restore, and OSError.
    """
    expected = remembered(files.fingerprint)
    if not files.cert.exists():
        if expected and not replace:
            raise ValueError(
                f"{files.cert} is missing, and edges trust that CA (SHA-256 fingerprint "
                f"{expected}): restore {files.cert.name} and {files.key.name} from a copy, {_NEW}"
            )
        authority = _make(files)
    else:
        authority = load_authority(files)
    found = fingerprint(authority.certificate)
    if expected and found != expected and not replace:
        raise ValueError(
            f"{files.cert} is not the CA that edges trust: its SHA-256 fingerprint is {found}, "
            f"and {expected} is remembered in {files.fingerprint}; restore {files.cert.name} and "
            f"{files.key.name}, or accept this CA with `cloudcore certs init --new-ca`: then every "
            "edge needs new files from `cloudcore certs issue`"
        )
    if found != expected:
        text = f"{_EXPLAINED}sha256:{found}\n"
        replace_file(files.fingerprint, text.encode(), PUBLIC)
    return authority


def fingerprint(certificate: x509.Certificate) -> str:
    """Return the SHA-256 fingerprint: `openssl x509 -fingerprint -sha256` without colons."""
    return certificate.fingerprint(hashes.SHA256()).hex()


def load_authority(files: AuthorityFiles) -> signing.Authority:
    """Read the CA; raises ValueError, which says what to restore, and OSError."""
    if not files.key.exists():
        raise ValueError(
            f"{files.key} is missing, the key of the CA {files.cert}: restore it from a copy, "
            f"{_NEW}, after moving {files.cert.name} away"
        )
    certificate, key = signing.load(files.cert, files.key)
    if certificate.public_key() != key.public_key():
        raise ValueError(
            f"{files.key} is not the key of {files.cert}: restore the right one from a copy, "
            f"{_NEW}, after moving both away"
        )
    return signing.Authority(certificate, key)


def new_authority() -> signing.Authority:
    """Return a new CA, which is not written anywhere."""
    key = signing.new_key()
    return signing.Authority(signing.authority_certificate(key, "cloudcore-ca"), key)


def _make(files: AuthorityFiles) -> signing.Authority:
    authority = new_authority()
    write_authority(files, authority)
    found = fingerprint(authority.certificate)
    log.info("made the CA %s, SHA-256 fingerprint %s", files.cert, found)
    return authority


def write_authority(files: AuthorityFiles, authority: signing.Authority) -> None:
    """Write the two PEM files; raises OSError."""
    # The certificate is written last: if it exists, its key exists.
    replace_file(files.key, signing.key_pem(authority.key))
    replace_file(files.cert, signing.certificate_pem(authority.certificate), PUBLIC)


def remembered(path: Path) -> str:
    """Return the recorded fingerprint of the CA that edges trust; empty without one."""
    try:
        text = path.read_text("utf-8", "replace")
    except FileNotFoundError:
        return ""
    if found := _FINGERPRINT.search(text):
        return found[1]
    raise ValueError(f"{path} is damaged: restore it, or remove it if the CA is the right one")
