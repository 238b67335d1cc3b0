"""Checks of certificates for `cloudcore doctor`; nothing is created, renewed or changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509

from modules.common.pki import signing
from modules.common.pki.authority import AuthorityFiles, fingerprint, load_authority, remembered
from modules.common.pki.certificates import RENEW_BEFORE, Pki
from modules.common.pki.listing import Listed, list_certificates
from supervisor.api import Finding

Command = Callable[..., str]

#: A CA with less time left is worth a thought: every edge has to get the next one.
_CA_SOON: Final = timedelta(days=365)


def own_authority(pki: Pki) -> Iterator[Finding]:
    """Check the CA in the data directory: there, the one that edges trust, its key, its end."""
    files = pki.authority
    try:
        expected = remembered(files.fingerprint)
        if not files.cert.exists() and not expected:
            yield Finding.note(f"there is no CA in {pki.directory} yet: cloudcore makes it")
            return
        if not files.cert.exists():
            yield Finding.wrong(
                f"{files.cert} is missing, and edges trust that CA (SHA-256 fingerprint "
                f"{expected}): restore {files.cert.name} and {files.key.name} from a copy"
            )
            return
        authority = load_authority(files)
    except (ValueError, OSError) as error:
        yield Finding.wrong(str(error))
        return
    found = fingerprint(authority.certificate)
    if expected and found != expected:
        yield Finding.wrong(
            f"{files.cert} is not the CA that edges trust: its SHA-256 fingerprint is {found}, and "
            f"{expected} is remembered in {files.fingerprint}: restore it from a copy"
        )
    yield from _end_of_authority(files.cert, authority.certificate)


def own_certificates(pki: Pki, names: Sequence[str], command: Command) -> Iterator[Finding]:
    """Check those that cloudcore has made: signers, ends, keys, and the names of the server."""
    try:
        listed = list(list_certificates(pki))
    except (ValueError, OSError) as error:
        yield Finding.wrong(f"{error}; remove the file: cloudcore makes it again at its start")
        return
    bad = [finding for each in listed if (finding := _of_listed(each, command))]
    yield from bad
    pairs = ((pki.server_cert, pki.server_key), (pki.server_rsa_cert, pki.server_rsa_key))
    for cert, key in pairs:
        if cert.exists() and (finding := _of_pair(cert, key, command("certs", "renew", "server"))):
            bad.append(finding)
            yield finding
    server = next((each for each in listed if each.name == "server"), None)
    if server and (lacking := _lacking(server.names, names)):
        text = (
            f"the server's certificate lacks {lacking}: cloudcore makes another one at its start, "
            "or within a minute"
        )
        yield Finding.note(text)
    if listed and not bad:
        soonest = min(listed, key=lambda each: each.expires)
        yield Finding.ok(
            f"all {len(listed)} certificates are good; the first to expire is {soonest.name}, on "
            f"{soonest.expires:%Y-%m-%d}"
        )


def configured_files(
    files: AuthorityFiles | Path, cert: Path, key: Path, names: Sequence[str]
) -> Iterator[Finding]:
    """Check files that the configuration names; `files` is the CA, with or without its key."""
    ca = files.cert if isinstance(files, AuthorityFiles) else files
    try:
        authority = signing.load_certificate(ca)
        certificate = signing.load_certificate(cert)
    except (ValueError, OSError) as error:
        yield Finding.wrong(f"cannot read a certificate: {error}; correct [modules.cloudhub]")
        return
    found = list(_end_of_authority(ca, authority))
    if isinstance(files, AuthorityFiles):
        found += _of_authority_files(files)
    else:
        text = f"there is no key of the CA {ca}: no edge can join; set modules.cloudhub.ca_key"
        found.append(Finding.note(text))
    shown = f"openssl x509 -in {cert} -noout -text"
    if finding := _of_pair(cert, key, f"openssl pkey -in {key} -pubout"):
        found.append(finding)
    if not signing.issued_by(certificate, authority):
        text = f"{cert} is not signed by {ca}: no edge accepts it; have it signed by that CA"
        found.append(Finding.wrong(text, shown))
    if finding := _end(f"{cert}", certificate, "have another one signed", shown):
        found.append(finding)
    if lacking := _lacking(signing.names_of(certificate), names):
        text = f"{cert} lacks {lacking}: edges that dial these do not accept it; have them added"
        found.append(Finding.wrong(text, shown))
    yield from found
    if all(each.mark == "note" for each in found):
        yield Finding.ok(f"{cert} is good until {certificate.not_valid_after_utc:%Y-%m-%d}")


def _of_authority_files(files: AuthorityFiles) -> Iterator[Finding]:
    try:
        load_authority(files)
    except (ValueError, OSError) as error:
        yield Finding.wrong(f"{error}; correct modules.cloudhub.ca_key")


def _of_listed(each: Listed, command: Command) -> Finding | None:
    if each.kind == "ca" or each.state == "good":
        early = each.issued > datetime.now(UTC)
        text = f"the certificate {each.name} is not valid before {each.issued:%Y-%m-%d}"
        return Finding.wrong(f"{text}: see the clock", "date") if early else None
    until = f"until {each.expires:%Y-%m-%d}"
    text = f"the certificate of the node {each.name} is {each.state}, {until}"
    if each.kind == "node":
        again = command("certs", "issue", each.name, "--out", "DIR")
        if each.state == "expiring":
            return Finding.note(text, again)
        text = f"{text}; if there is no such node any more, remove {each.file}"
        return Finding.wrong(text, again)
    kind = "admin" if each.kind == "admin" else "server"
    text = f"the certificate {each.name} is {each.state}, {until}"
    mend = command("certs", "renew", kind)
    return Finding.note(text, mend) if each.state == "expiring" else Finding.wrong(text, mend)


def _of_pair(cert: Path, key: Path, command: str) -> Finding | None:
    try:
        certificate, private = signing.load(cert, key)
    except (ValueError, OSError) as error:
        return Finding.wrong(str(error), command)
    if certificate.public_key() == private.public_key():
        return None
    return Finding.wrong(f"{key} is not the key of {cert}", command)


def _end_of_authority(path: Path, certificate: x509.Certificate) -> Iterator[Finding]:
    if finding := _end(f"the CA {path}", certificate, "make another one, and let edges join again"):
        yield finding
    elif certificate.not_valid_after_utc - datetime.now(UTC) < _CA_SOON:
        text = f"the CA {path} expires on {certificate.not_valid_after_utc:%Y-%m-%d}"
        yield Finding.note(f"{text}: every edge has to join again by then")


def _end(what: str, certificate: x509.Certificate, mend: str, command: str = "") -> Finding | None:
    now = datetime.now(UTC)
    if certificate.not_valid_before_utc > now:
        begins = certificate.not_valid_before_utc
        return Finding.wrong(f"{what} is not valid before {begins:%Y-%m-%d}: see the clock", "date")
    ends = certificate.not_valid_after_utc
    if ends <= now:
        return Finding.wrong(f"{what} expired on {ends:%Y-%m-%d}: {mend}", command)
    if ends - now < RENEW_BEFORE:
        return Finding.note(f"{what} expires on {ends:%Y-%m-%d}: {mend}", command)
    return None


def _lacking(present: Sequence[str], wanted: Sequence[str]) -> str:
    missing = dict.fromkeys(signing.canonical(name) for name in wanted)
    return ", ".join(name for name in missing if name not in present)
