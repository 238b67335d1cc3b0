"""By what replicas know each other: certificates of a CA of their own.

It is not the CA of the edges, although all replicas have that one: KubeEdge's cloudcore signs
whatever subject, names and usages an edge asks for (certs.go), so in a fleet that comes from there
no name tells a replica from an edge. The replicas' CA has a key that each of them derives from the
key of the edges' CA, which no edge has. Nothing of it is kept or exchanged: each replica makes the
CA's certificate anew, and verifies by it what the others have made with the same key.
"""

from __future__ import annotations

import os
import ssl
from datetime import timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.x509.oid import ExtendedKeyUsageOID

from modules.common.pki import signing

#: The names of the CA, and of whom it signs for: with one name certificates would seem self-signed.
_NAME: Final = "cloudcore-replicas"
_REPLICA: Final = "cloudcore-replica"
#: By how much the clocks of replicas may disagree, and that of one be set: who has the key is let
#: in, and no certificate is kept, so that these times protect nobody.
_DISAGREEMENT: Final = timedelta(days=365)
#: The order of the group of P-256 (FIPS 186-4, D.1.2.3).
_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
#: Bytes of a secret that is reduced to the order with no bias that matters (FIPS 186-4, B.4.1).
_SECRET: Final = 40


def replicas_authority(authority: signing.Authority) -> signing.Authority:
    """Return the CA of the replicas that share this CA of edges."""
    derive = HKDF(hashes.SHA256(), _SECRET, salt=None, info=_NAME.encode())
    secret = int.from_bytes(derive.derive(signing.key_der(authority.key)))
    key = ec.derive_private_key(secret % (_ORDER - 1) + 1, ec.SECP256R1())
    certificate = signing.authority_certificate(key, _NAME, backdated=_DISAGREEMENT)
    return signing.Authority(certificate, key)


class Credentials:
    """The TLS contexts of one replica: as a server of others, and as a client."""

    def __init__(self, authority: signing.Authority, replica: str) -> None:
        """Set up with the CA of the edges."""
        self._authority = replicas_authority(authority)
        self._replica = replica
        trusted = signing.certificate_pem(self._authority.certificate).decode()
        self.server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.server.verify_mode = ssl.CERT_REQUIRED
        self.client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # which checks the replica's name
        for context in (self.server, self.client):
            context.minimum_version = ssl.TLSVersion.TLSv1_3
            context.load_verify_locations(cadata=trusted)
        self.renew()

    def renew(self) -> None:
        """Make a new certificate; connections from now on use it."""
        key = signing.new_key()
        certificate = signing.sign(
            self._authority,
            key.public_key(),
            signing.subject(_REPLICA, None),
            ExtendedKeyUsageOID.SERVER_AUTH,
            x509.SubjectAlternativeName([signing.general_name(self._replica)]),
            also=[ExtendedKeyUsageOID.CLIENT_AUTH],
            backdated=_DISAGREEMENT,
        )
        pem = signing.key_pem(key) + signing.certificate_pem(certificate)
        # OpenSSL reads a file; this one is in memory alone.
        file = os.memfd_create(_NAME)
        try:
            os.write(file, pem)
            for context in (self.server, self.client):
                context.load_cert_chain(f"/proc/self/fd/{file}")
        finally:
            os.close(file)
