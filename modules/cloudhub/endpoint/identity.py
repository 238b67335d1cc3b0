"""The identity of an edge: header, path and certificate must agree.

Go's v1.1.0 trusts the header (cloud/pkg/cloudhub/handler/eventhandler.go).
"""

from __future__ import annotations

import re
from calendar import timegm
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from modules.common.dns_names import is_subdomain

if TYPE_CHECKING:
    from multidict import CIMultiDict

HEADER_NODE: Final = "node_id"
_CERTIFICATE_PREFIX: Final = "system:node:"

_PATH: Final = re.compile(r"/([^/?]+)/([^/?]+)/events(?:\?.*)?")

_MONTHS: Final = "JanFebMarAprMayJunJulAugSepOctNovDec"


@dataclass(frozen=True, slots=True)
class Identity:
    """A node, and the client certificate that it presented."""

    node: str
    common_name: str
    expires: int
    """notAfter of the certificate, in seconds since the epoch"""


class HandshakeRefused(Exception):
    """A connection is not accepted; the text and the HTTP status are the answer.

    `cause` is the label of the metric.
    """

    def __init__(self, status: HTTPStatus, cause: str, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.cause = cause


def identify(
    path: bytes, headers: CIMultiDict[str], certificate: Mapping[str, Any], *, strict: bool
) -> Identity:
    """Return the identity of an edge; HandshakeRefused if its parts are missing or disagree.

    `certificate` is in the form of ssl.SSLSocket.getpeercert, and verified. Its common name is
    checked only if `strict`.
    """
    match = _PATH.fullmatch(path.decode("ascii", "replace"))
    if not match:
        raise HandshakeRefused(
            HTTPStatus.NOT_FOUND, "path", "edges connect to /{project_id}/{node_id}/events"
        )
    node = match[2]
    if not is_subdomain(node):  # it is used in resource strings
        raise HandshakeRefused(HTTPStatus.BAD_REQUEST, "name", f"{node!r} cannot be a node's name")
    said = headers.getall(HEADER_NODE, [])
    if said != [node]:
        raise HandshakeRefused(
            HTTPStatus.FORBIDDEN,
            "identity",
            f"the path names node {node!r}, the header {HEADER_NODE} {' and '.join(said) or '-'!r}",
        )
    common_name = _common_name(certificate)
    if strict and common_name.removeprefix(_CERTIFICATE_PREFIX) != node:
        raise HandshakeRefused(
            HTTPStatus.FORBIDDEN,
            "identity",
            f"a certificate of {common_name!r} does not speak for node {node!r}",
        )
    expires = certificate.get("notAfter")
    return Identity(node, common_name, _seconds(expires) if expires else 0)


def _seconds(time: str) -> int:
    """Do what ssl.cert_time_to_seconds does, which would take 10% of the CPU time of a connect."""
    month, day, clock, year, _gmt = time.split()
    hour, minute, second = map(int, clock.split(":"))
    return timegm((int(year), _MONTHS.index(month) // 3 + 1, int(day), hour, minute, second))


def _common_name(certificate: Mapping[str, Any]) -> str:
    names = [
        str(value)
        for relative in certificate.get("subject", ())
        for key, value in relative
        if key == "commonName"
    ]
    # Of several, the last one is the most specific, and the one that Go's pkix.Name uses.
    return names[-1] if names else ""
