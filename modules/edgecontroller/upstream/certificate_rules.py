"""The rights of edge nodes to certificates: which requests are a node's own and valid.

The rules are those of NodeRestriction (admitCSR) and of the signers for kubelets
(ValidateKubeletServingCSR and ValidateKubeletClientCSR in pkg/apis/certificates/helpers.go).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from cryptography import x509
from cryptography.x509.oid import NameOID

from modules.common.kube import BadObject
from modules.common.pki.requests import read_request
from modules.edgecontroller.upstream.authorization import Denied

SERVING: Final = "kubernetes.io/kubelet-serving"
CLIENT: Final = "kubernetes.io/kube-apiserver-client-kubelet"

#: The usages that each signer for kubelets signs, and the one more for RSA keys.
_USAGES: Final = {
    SERVING: {"digital signature", "server auth"},
    CLIENT: {"digital signature", "client auth"},
}
_FOR_RSA: Final = {"key encipherment"}


def read(pem: bytes) -> x509.CertificateSigningRequest:
    """Return a request for a certificate; raises BadObject if it is none, or is not signed."""
    try:
        return read_request(pem)
    except ValueError as error:
        raise BadObject("spec.request", str(error)) from error


def check(csr: x509.CertificateSigningRequest, node: str, signer: str, usages: set[str]) -> None:
    """Raise Denied unless a node asks for a certificate for itself, by a signer for kubelets."""
    if not is_own(csr, node):
        raise Denied(f"a node may request certificates for system:node:{node} alone")
    if signer not in _USAGES:
        raise Denied(f"a node may request certificates of {', '.join(sorted(_USAGES))} alone")
    if usages - _FOR_RSA != _USAGES[signer]:
        raise Denied(f"the usages for {signer} are {', '.join(sorted(_USAGES[signer]))}")
    names = list(_alternative_names(csr))
    if signer == CLIENT and names:
        raise Denied("a client certificate of a node has no alternative names")
    if signer == SERVING and not (names and all(map(_is_address, names))):
        raise Denied("a serving certificate of a node is for DNS names and IP addresses alone")


def is_own(csr: x509.CertificateSigningRequest, node: str) -> bool:
    """Whether the subject of a request is a node itself."""
    return (_named(csr, NameOID.COMMON_NAME), _named(csr, NameOID.ORGANIZATION_NAME)) == (
        [f"system:node:{node}"],
        ["system:nodes"],
    )


def is_request_of(pem: bytes, node: str) -> bool:
    """Whether some bytes are a request for a certificate of a node."""
    try:
        return is_own(read(pem), node)
    except BadObject:
        return False


def foreign_addresses(csr: x509.CertificateSigningRequest, node: str) -> list[str]:
    """Return the names and addresses that cannot be known to be a node's own.

    Those of its own machine (loopback, link-local) can, and its name. The addresses of a Node are
    what the node itself says.
    """
    names = [str(each.value) for each in _alternative_names(csr) if not _is_local(each, node)]
    return sorted(names)


def _is_local(name: x509.GeneralName, node: str) -> bool:
    if isinstance(name, x509.IPAddress):
        return bool(name.value.is_loopback or name.value.is_link_local)
    return name.value in (node, "localhost")


def _is_address(name: x509.GeneralName) -> bool:
    return isinstance(name, x509.DNSName | x509.IPAddress)


def _alternative_names(csr: x509.CertificateSigningRequest) -> Iterator[Any]:
    for extension in csr.extensions:
        if isinstance(extension.value, x509.SubjectAlternativeName):
            yield from extension.value


def _named(csr: x509.CertificateSigningRequest, attribute: x509.ObjectIdentifier) -> list[str]:
    return [str(each.value) for each in csr.subject.get_attributes_for_oid(attribute)]
