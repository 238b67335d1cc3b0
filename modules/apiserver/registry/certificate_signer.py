"""Signing of approved CertificateSigningRequests, with the CA of cloudcore.

As kube-controller-manager does it (pkg/controller/certificates/signer): the server signs for the
two signers of kubelets, whose requests must be of the right form. Requests for other signers are
left to whoever signs for them, which this server does not.
"""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Final

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from modules.apiserver.kinds import certificates
from modules.apiserver.meta.objects import Entry, Json, dig
from modules.apiserver.meta.status import ApiError
from modules.apiserver.registry.registry import Registry
from modules.apiserver.turns import Turn
from modules.common.failure_log import FailureLog
from modules.common.pki import signing
from supervisor.api import TemporaryFailure

log = logging.getLogger(__name__)

STORAGE: Final = "certificatesigningrequests.certificates.k8s.io"
SERVING: Final = "kubernetes.io/kubelet-serving"
CLIENT: Final = "kubernetes.io/kube-apiserver-client-kubelet"
#: Seconds between retries while the disk is full.
RETRY_SECONDS: Final = 1.0
_SHORTEST: Final = timedelta(minutes=10)
_PURPOSES: Final = {
    SERVING: ("server auth", ExtendedKeyUsageOID.SERVER_AUTH),
    CLIENT: ("client auth", ExtendedKeyUsageOID.CLIENT_AUTH),
}


class CertificateSigner:
    """The controller of approved requests."""

    def __init__(self, registry: Registry, authority: Callable[[], signing.Authority]) -> None:
        """`authority` reads the CA; it raises OSError and ValueError."""
        self._registry = registry
        self._authority = authority
        self._others = FailureLog(log)
        """requests that nobody signs here, by their uid"""

    async def run(self) -> None:
        """Sign until cancelled."""
        collection = self._registry.store.collection(STORAGE)
        wake = collection.history.subscribe()
        turn = Turn()
        while True:
            wake.clear()
            try:
                for entry in collection.snapshot():
                    self._handle(entry)
                    if turn.is_over:
                        await turn.next()
            except TemporaryFailure:  # the store has logged it
                await asyncio.sleep(RETRY_SECONDS)
                continue
            await wake.wait()

    def _handle(self, entry: Entry) -> None:
        request = entry.decode()
        if not _is_waiting(request):
            return
        name, signer = entry.key[1], request["spec"].get("signerName")
        if signer not in _PURPOSES:
            text = (
                f"certificatesigningrequest {name}: approved, but this server signs for "
                f"{SERVING} and {CLIENT} alone, not for {signer!r}"
            )
            self._others.failed(request["metadata"]["uid"], "", text)
            return
        try:
            certificate = self._sign(request)
        except ValueError as error:
            log.warning("certificatesigningrequest %s: not signed: %s", name, error)
            self._set(name, {"conditions": [*_conditions(request), _failed(str(error))]})
            return
        except OSError as error:
            log.error("certificatesigningrequest %s: cannot read the CA: %s", name, error)
            return
        pem = base64.b64encode(signing.certificate_pem(certificate)).decode()
        self._set(name, {"certificate": pem})
        log.info("certificatesigningrequest %s: signed for %s", name, signer)

    def _sign(self, request: Json) -> x509.Certificate:
        """Return the certificate; raises ValueError for a request that must not be signed."""
        spec = request["spec"]
        signer = spec["signerName"]
        csr = certificates.parse(spec["request"])
        names = check_form(csr, signer, set(spec["usages"]))
        key = csr.public_key()
        if not isinstance(key, signing.PublicKey):
            raise ValueError("the key is neither an ECDSA nor an RSA key")  # noqa: TRY004
        lifetime = signing.LEAF_LIFETIME
        if (seconds := spec.get("expirationSeconds")) is not None:
            asked = timedelta(seconds=min(seconds, lifetime.total_seconds()))
            lifetime = max(asked, _SHORTEST)
        authority = self._authority()
        return signing.sign(
            authority, key, csr.subject, _PURPOSES[signer][1], names, lifetime=lifetime
        )

    def _set(self, name: str, status: Json) -> None:
        resource = self._registry.catalog.find(
            "certificates.k8s.io", "v1", "certificatesigningrequests"
        )

        def with_status(present: Json) -> Json:
            present["status"] = {**(present.get("status") or {}), **status}
            return present

        try:
            self._registry.modify(resource, "", name, with_status, subresource="status")
        except ApiError as error:
            log.warning("certificatesigningrequest %s: cannot be updated: %s", name, error)


def check_form(
    csr: x509.CertificateSigningRequest, signer: str, usages: set[str]
) -> x509.SubjectAlternativeName | None:
    """Return the alternative names; raises ValueError unless a kubelet may have the certificate.

    The rules are those of pkg/apis/certificates/helpers.go.
    """
    if _attributes(csr, NameOID.ORGANIZATION_NAME) != ["system:nodes"]:
        raise ValueError("subject organization is not system:nodes")
    names = _alternative_names(csr)
    kinds = {type(name) for name in names or ()}
    if signer == SERVING:
        if not kinds:
            raise ValueError("DNS or IP subjectAltName is required")
        if not kinds <= {x509.DNSName, x509.IPAddress}:
            raise ValueError("only DNS and IP subjectAltNames are allowed")
    elif kinds:
        raise ValueError("subjectAltNames are not allowed")
    purpose = _PURPOSES[signer][0]
    if usages - {"key encipherment"} != {"digital signature", purpose}:
        raise ValueError(f"usages did not match [digital signature key encipherment {purpose}]")
    common_names = _attributes(csr, NameOID.COMMON_NAME)
    if len(common_names) != 1 or not common_names[0].startswith("system:node:"):
        raise ValueError("subject common name does not begin with system:node:")
    return names


def _is_waiting(request: Json) -> bool:
    types = {item.get("type") for item in _conditions(request)}
    decided = certificates.APPROVED in types and not types & {
        certificates.DENIED, certificates.FAILED,
    }  # fmt: skip
    return decided and not dig(request, "status", "certificate")


def _conditions(request: Json) -> list[Json]:
    return dig(request, "status", "conditions") or []


def _failed(why: str) -> Json:
    return {
        "type": certificates.FAILED,
        "status": "True",
        "reason": "SignerValidationFailure",
        "message": why,
    }


def _alternative_names(
    csr: x509.CertificateSigningRequest,
) -> x509.SubjectAlternativeName | None:
    try:
        return csr.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return None


def _attributes(csr: x509.CertificateSigningRequest, oid: x509.ObjectIdentifier) -> list[str]:
    return [str(each.value) for each in csr.subject.get_attributes_for_oid(oid)]
