"""The certificates of cloudcore and of its edge nodes.

One directory holds a CA and the certificates that it signed, as PEM files:

| file                   | used by                                                            |
|------------------------|--------------------------------------------------------------------|
| ca.crt, ca.key         | trusted by every component; only this file signs with the key      |
| server.crt, server.key | cloudhub and the embedded API server, as TLS servers               |
| server-rsa.crt, .key   | cloudhub, for edges of KubeEdge 1.1                                |
| admin.crt, admin.key   | the generated kubeconfig: O=system:masters, as kubeadm's admin     |
| nodes/NODE.crt         | `cloudcore certs list`: copies of the certificates of edge nodes   |

Keys are ECDSA P-256. Edges of KubeEdge 1.1 offer one cipher suite of TLS 1.2,
TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, which needs a server certificate with an RSA key: CloudHub
has one of each kind, and OpenSSL chooses by what the client offers. Both are signed by the one CA,
whatever the kind of its key; a CA that an earlier cloudcore made is RSA, and stays.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from ipc.files import PUBLIC, locked, replace_file
from modules.common.dns_names import is_subdomain
from modules.common.pki import signing
from modules.common.pki.authority import AuthorityFiles, ensure_authority, write_authority
from supervisor.host.paths import PathError, make_private

# Certificates with less validity left are renewed at the next start.
RENEW_BEFORE = timedelta(days=30)
ALWAYS_NAMED = ("localhost", "127.0.0.1")
#: Names of a server certificate, of which those that are wanted no more are the first to go.
_MOST_NAMES = 64
#: Wildcard listen addresses, which name no host.
WILDCARDS = ("0.0.0.0", "::")

#: 64 bytes of CN (ub-common-name of X.520) less "system:node:".
_LONGEST_NODE_NAME = 52

#: The subject of a node's certificate, as of a kubelet's: O=system:nodes, CN=system:node:NAME.
NODE_PREFIX = "system:node:"
NODES_GROUP = "system:nodes"


@dataclass(frozen=True)
class Pki:
    """Paths of the PEM files of one PKI directory."""

    directory: Path

    @property
    def ca_cert(self) -> Path:
        return self.directory / "ca.crt"

    @property
    def ca_key(self) -> Path:
        return self.directory / "ca.key"

    @property
    def authority(self) -> AuthorityFiles:
        """The files of the CA, and of its fingerprint, which is kept outside the directory."""
        memory = self.directory.with_name(f"{self.directory.name}.fingerprint")
        return AuthorityFiles(self.ca_cert, self.ca_key, memory)

    @property
    def server_cert(self) -> Path:
        return self.directory / "server.crt"

    @property
    def server_key(self) -> Path:
        return self.directory / "server.key"

    @property
    def server_rsa_cert(self) -> Path:
        return self.directory / "server-rsa.crt"

    @property
    def server_rsa_key(self) -> Path:
        return self.directory / "server-rsa.key"

    @property
    def nodes(self) -> Path:
        return self.directory / "nodes"

    @property
    def admin_cert(self) -> Path:
        return self.directory / "admin.crt"

    @property
    def admin_key(self) -> Path:
        return self.directory / "admin.key"


def configured_authority(ca: str, ca_key: str, data_dir: Path) -> AuthorityFiles | Path:
    """Return the files of the CA, or its certificate alone if there is no key to sign with.

    `ca` and `ca_key` are the configured files; without them it is the CA in the data directory.
    """
    if not ca:
        return Pki(data_dir / "pki").authority
    if not ca_key:
        return Path(ca)
    return AuthorityFiles(Path(ca), Path(ca_key), data_dir / "pki.fingerprint")


def ensure_pki(
    directory: Path,
    names: Sequence[str],
    *,
    renew: Collection[str] = (),
    new_ca: bool = False,
) -> Pki:
    """Create the missing files in `directory`, and return the paths of all.

    `names` are the DNS names and IP addresses that the server certificates must have. They keep
    the names that they have already, so that callers with different names share them; of more
    than 64, those that were wanted longest ago are dropped.
    Certificates that are about to expire, or are not signed by the CA, are renewed, and so are
    those in `renew`: "server", "admin". Safe to call from several processes at a time.

    A CA that existed and is missing is an error; only with `new_ca` another one is created.

    Raises OSError if the directory cannot be used, ValueError if a PEM file in it is damaged, the
    CA is lost, or other users may write to the directory.
    """
    pki = Pki(directory)
    with _locked(directory):
        authority = ensure_authority(pki.authority, replace=new_ca)
        _ensure_server(pki, authority, names, renew="server" in renew)
        _ensure_admin(pki, authority, renew="admin" in renew)
    return pki


def adopt_authority(pki: Pki, authority: signing.Authority) -> None:
    """Keep a CA that was made elsewhere, unless there is one by now; raises OSError, ValueError."""
    with _locked(pki.directory):
        if not pki.ca_cert.exists():
            write_authority(pki.authority, authority)
        ensure_authority(pki.authority)


def issue_node(pki_dir: Path, node: str, *, record: bool = False) -> tuple[bytes, bytes]:
    """Return a new client certificate for the edge node `node`, and its key, as PEM.

    The subject is that of a kubelet: O=system:nodes, CN=system:node:NAME. The CA is created if
    there is none yet. With `record`, a copy of the certificate (not of the key) is kept for
    `cloudcore certs list`. Raises ValueError if `node` is not a valid name of a node.
    """
    check_node_name(node)
    with _locked(pki_dir):
        authority = ensure_authority(Pki(pki_dir).authority)
    key = signing.new_key()
    certificate = sign_node(authority, node, key.public_key())
    if record:
        record_node(Pki(pki_dir), node, certificate)
    return signing.certificate_pem(certificate), signing.key_pem(key)


def check_node_name(node: str) -> None:
    """Raise ValueError, which says why, if this cannot be a node's name in a certificate."""
    if not is_subdomain(node):
        raise ValueError(
            f"{node!r} cannot be a node's name: it must consist of lower case letters, digits, "
            "'-' and '.', and each part between dots start and end with a letter or digit"
        )
    if len(node) > _LONGEST_NODE_NAME:
        raise ValueError(
            f"{node!r} has {len(node)} characters, and a certificate has room for a node's name "
            f"of {_LONGEST_NODE_NAME}"
        )


def sign_node(
    authority: signing.Authority,
    node: str,
    key: signing.PublicKey,
    lifetime: timedelta | None = None,
) -> x509.Certificate:
    """Return a client certificate for a node, whose name has been checked, and its key."""
    subject = signing.subject(f"{NODE_PREFIX}{node}", NODES_GROUP)
    usage = ExtendedKeyUsageOID.CLIENT_AUTH
    return signing.sign(authority, key, subject, usage, lifetime=lifetime)


def record_node(pki: Pki, node: str, certificate: x509.Certificate) -> None:
    """Keep a copy of a node's certificate for `cloudcore certs list`; raises OSError."""
    pki.nodes.mkdir(exist_ok=True)
    replace_file(pki.nodes / f"{node}.crt", signing.certificate_pem(certificate), PUBLIC)


def write_node_files(directory: Path, pki_dir: Path, issued: tuple[bytes, bytes]) -> None:
    """Write the files for an edge node: rootCA.crt, edge.crt and edge.key of `issue_node`."""
    certificate, key = issued
    replace_file(directory / "rootCA.crt", Pki(pki_dir).ca_cert.read_bytes(), PUBLIC)
    replace_file(directory / "edge.key", key)
    replace_file(directory / "edge.crt", certificate, PUBLIC)


@contextmanager
def unchanged(pki: Pki) -> Iterator[None]:
    """Keep others from replacing files while they are read: a certificate and its key are two."""
    with _locked(pki.directory):
        yield


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    try:
        for private in (directory.parent, directory):
            make_private(private, "--data-dir")
    except PathError as error:
        raise ValueError(str(error)) from error
    with locked(directory / ".lock"):
        yield


def _ensure_server(
    pki: Pki, authority: signing.Authority, names: Sequence[str], *, renew: bool
) -> None:
    kinds = (
        (pki.server_cert, pki.server_key, signing.new_key),
        (pki.server_rsa_cert, pki.server_rsa_key, signing.new_rsa_key),
    )
    for cert, key, new_key in kinds:
        _ensure_server_certificate(cert, key, new_key, authority, names, renew=renew)


def _ensure_server_certificate(
    cert_path: Path,
    key_path: Path,
    new_key: Callable[[], signing.PrivateKey],
    authority: signing.Authority,
    names: Sequence[str],
    *,
    renew: bool,
) -> None:
    wanted = dict.fromkeys(signing.canonical(name) for name in (*ALWAYS_NAMED, *names))
    if cert_path.exists():
        certificate, key = signing.load(cert_path, key_path)
        present = signing.names_of(certificate)
        good = wanted.keys() <= set(present) and _still_good(certificate, key, authority)
        # An earlier cloudcore had one certificate, with an RSA key.
        right_kind = isinstance(key, rsa.RSAPrivateKey) == (new_key is signing.new_rsa_key)
        if good and right_kind and not renew:
            return
        most = max(_MOST_NAMES, len(wanted))
        wanted = dict.fromkeys([*wanted, *present][:most])
    key = new_key()
    certificate = signing.sign(
        authority,
        key.public_key(),
        signing.subject("cloudcore", None),
        ExtendedKeyUsageOID.SERVER_AUTH,
        x509.SubjectAlternativeName([signing.general_name(name) for name in wanted]),
    )
    replace_file(key_path, signing.key_pem(key))
    replace_file(cert_path, signing.certificate_pem(certificate), PUBLIC)


def _ensure_admin(pki: Pki, authority: signing.Authority, *, renew: bool) -> None:
    if pki.admin_cert.exists() and not renew:
        certificate, key = signing.load(pki.admin_cert, pki.admin_key)
        if _still_good(certificate, key, authority):
            return
    key = signing.new_key()
    certificate = signing.sign(
        authority,
        key.public_key(),
        signing.subject("kubernetes-admin", "system:masters"),
        ExtendedKeyUsageOID.CLIENT_AUTH,
    )
    replace_file(pki.admin_key, signing.key_pem(key))
    replace_file(pki.admin_cert, signing.certificate_pem(certificate), PUBLIC)


def _still_good(
    certificate: x509.Certificate, key: signing.PrivateKey, authority: signing.Authority
) -> bool:
    now = datetime.now(UTC)
    # A kill between the two writes leaves a key without its certificate. A certificate that is not
    # valid yet was made while the clock was ahead.
    return (
        certificate.public_key() == key.public_key()
        and signing.issued_by(certificate, authority.certificate)
        and certificate.not_valid_before_utc <= now < certificate.not_valid_after_utc - RENEW_BEFORE
    )
