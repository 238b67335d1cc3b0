"""The CA that edges trust, KubeEdge's certificate and token: usable, and the same as ours."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from modules.common.kube import KubeClient
from modules.common.kubeedge_secrets import (
    CA_NAME,
    CA_SECRET,
    NAMESPACE,
    SERVER_DATA,
    SERVER_SECRET,
    TOKEN_DATA,
    TOKEN_SECRET,
    Data,
    authority_of,
    read_secret,
)
from modules.common.pki import signing
from modules.common.pki.authority import AuthorityFiles, fingerprint
from modules.common.pki.tokens import InvalidToken, verify_token
from modules.takeover.check.subject import Subject
from supervisor.api import Check, Finding


@dataclass(frozen=True)
class _Found:
    """One place with a CA."""

    where: str
    certificate: x509.Certificate

    @property
    def print(self) -> str:
        return fingerprint(self.certificate)


def checks(subject: Subject) -> list[Check]:
    async def look(client: KubeClient) -> list[Finding]:
        names = (CA_SECRET, SERVER_SECRET, TOKEN_SECRET)
        secrets = {name: await read_secret(client, name) for name in names}
        return list(_findings(subject, secrets))

    return [subject.api_check("the CA, certificate and token of KubeEdge", look)]


def _findings(subject: Subject, secrets: Mapping[str, Data | None]) -> Iterator[Finding]:
    in_secret: signing.Authority | None = None
    if (data := secrets[CA_SECRET]) is not None:
        try:
            in_secret = authority_of(data)
        except ValueError as error:
            yield Finding.wrong(
                str(error), f"kubectl -n {NAMESPACE} get secret {CA_SECRET} -o yaml"
            )
    theirs = [_Found(CA_NAME, in_secret.certificate)] if in_secret else []
    try:
        theirs += _in_files(subject)
        ours = _own(subject)
    except (OSError, ValueError) as error:
        yield Finding.wrong(f"cannot read a CA: {error}")
        return
    yield from _compared(subject, theirs, ours)
    if theirs:
        trusted = theirs[-1].certificate  # KubeEdge prefers its files to the secret
        yield from _server(subject, secrets[SERVER_SECRET], trusted)
    if in_secret:
        yield from _token(secrets[TOKEN_SECRET], in_secret)


def _in_files(subject: Subject) -> list[_Found]:
    path = subject.go.files.get("ca") if subject.go else None
    return [_Found(str(path), signing.load_certificate(path))] if path and path.is_file() else []


def _own(subject: Subject) -> _Found | None:
    files = subject.authority
    path = files.cert if isinstance(files, AuthorityFiles) else files
    return _Found(str(path), signing.load_certificate(path)) if path.exists() else None


def _compared(subject: Subject, theirs: list[_Found], ours: _Found | None) -> Iterator[Finding]:
    if not theirs:
        yield Finding.wrong(
            f"no CA of KubeEdge is found: neither {CA_NAME}, nor files. Its edges would refuse "
            "this cloudcore; give its cloudcore.yaml on the host where the files are"
        )
        return
    for other in theirs[1:]:
        if other.print != theirs[0].print:
            yield Finding.wrong(
                f"{theirs[0].where} and {other.where} are different CAs ({theirs[0].print[:16]}... "
                f"and {other.print[:16]}...). KubeEdge uses the files; delete the one that edges "
                "do not trust"
            )
            return
    trusted = theirs[-1]
    places = " and ".join(each.where for each in theirs)
    if ours is None:
        yield from _none_yet(subject, theirs, places)
    elif ours.print == trusted.print:
        yield Finding.ok(f"this cloudcore has the CA of {places}: edges and tokens stay good")
    elif subject.has_files:
        yield Finding.wrong(
            f"modules.cloudhub.ca is {ours.where}, and edges trust {places}: they would refuse "
            "this cloudcore; correct the configuration",
            subject.command("config", "show"),
        )
    else:
        aside = Path(ours.where).parent
        yield Finding.wrong(
            f"this cloudcore has another CA ({ours.where}) than {places}: edges would refuse it. "
            "Move its own away, and it takes the other at its start",
            f"mv {aside} {aside}.old && mv {aside}.fingerprint {aside}.fingerprint.old",
        )


def _none_yet(subject: Subject, theirs: list[_Found], places: str) -> Iterator[Finding]:
    if theirs[0].where == CA_NAME:
        yield Finding.ok(f"this cloudcore takes the CA of {places} at its first start")
    elif subject.has_files:
        yield Finding.wrong(
            f"the CA of the configuration is missing, and edges trust {places}: correct "
            "modules.cloudhub.ca",
            subject.command("config", "show"),
        )
    else:
        yield Finding.wrong(
            f"the CA that edges trust is in the file {places} alone, and this cloudcore would make "
            "another one: let its configuration name the files of KubeEdge",
            subject.conversion,
        )


def _server(subject: Subject, secret: Data | None, trusted: x509.Certificate) -> Iterator[Finding]:
    """Compare what edges dial, by the names in KubeEdge's certificate, with what ours will name."""
    try:
        certificate = _server_certificate(subject, secret)
    except (OSError, ValueError) as error:
        yield Finding.note(f"cannot read the certificate of KubeEdge's cloudcore: {error}")
        return
    if certificate is None:
        yield Finding.note(
            "no certificate of KubeEdge's cloudcore is found: it names what edges dial"
        )
        return
    if not signing.issued_by(certificate, trusted):
        yield Finding.note("the certificate of KubeEdge's cloudcore is not signed by its CA")
    dialled = [signing.canonical(name) for name in signing.names_of(certificate)]
    named = {signing.canonical(name) for name in subject.names}
    lacking = [name for name in dialled if name not in named]
    if lacking and not subject.has_files:
        quoted = ", ".join(f'"{name}"' for name in lacking)
        yield Finding.wrong(
            f"KubeEdge's certificate names {', '.join(lacking)}, which edges may dial, and that of "
            "this cloudcore would not: edges would refuse it. Set modules.cloudhub.names",
            subject.command("run", "--set", f"modules.cloudhub.names=[{quoted}]"),
        )
    else:
        yield Finding.ok(f"the certificate will name what edges dial: {', '.join(dialled) or '-'}")


def _server_certificate(subject: Subject, secret: Data | None) -> x509.Certificate | None:
    path = subject.go.files.get("cert") if subject.go else None
    if path and path.is_file():
        return signing.load_certificate(path)
    if secret and SERVER_DATA in secret:
        return x509.load_der_x509_certificate(secret[SERVER_DATA])
    return None


def _token(secret: Data | None, authority: signing.Authority) -> Iterator[Finding]:
    token = (secret or {}).get(TOKEN_DATA, b"").decode("ascii", "replace")
    if not token:
        yield Finding.ok(f"there is no {NAMESPACE}/{TOKEN_SECRET}: cloudcore makes a join token")
        return
    try:
        claims = verify_token(authority, token.partition(".")[2], time.time())
    except InvalidToken as error:
        text = f"the join token in {NAMESPACE}/{TOKEN_SECRET} is not good: {error}"
        yield Finding.note(f"{text}. cloudcore puts another one there")
        return
    until = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(claims.exp))
    yield Finding.ok(f"the join token in {NAMESPACE}/{TOKEN_SECRET} stays good until {until}")


def is_usable_by_go(subject: Subject) -> bool:
    """Whether KubeEdge can use this cloudcore's CA: it reads ECDSA keys alone."""
    ours = _own(subject)
    return ours is None or isinstance(ours.certificate.public_key(), ec.EllipticCurvePublicKey)
