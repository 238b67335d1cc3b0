"""The credentials of a request: a client certificate, or the bearer token of a service account."""

from __future__ import annotations

import hashlib
from typing import Any

from modules.apiserver.authentication.jwt import BadToken
from modules.apiserver.authentication.service_accounts import ServiceAccountTokens
from modules.apiserver.meta.status import unauthorized
from modules.apiserver.meta.users import User
from modules.common.http_library import web

_SCHEME = "bearer "


def authenticate(request: web.Request, tokens: ServiceAccountTokens) -> User:
    """Return the user who sends a request; raises ApiError (401).

    A certificate takes precedence over a token, as in kube-apiserver. The TLS handshake has
    verified it.
    """
    certificate = request.get_extra_info("peercert")
    if certificate:
        tls = request.get_extra_info("ssl_object")
        return _certified(certificate, tls.getpeercert(binary_form=True) if tls else b"")
    header = request.headers.get("Authorization", "")
    if not header.lower().startswith(_SCHEME):
        raise unauthorized("this server wants a client certificate or a bearer token")
    try:
        return tokens.user_of(header[len(_SCHEME) :].strip())[0]
    except BadToken as error:
        raise unauthorized(f"invalid bearer token: {error}") from error


def _certified(certificate: Any, der: bytes | None) -> User:
    subject = [pair for part in certificate.get("subject", ()) for pair in part]
    groups = [value for name, value in subject if name == "organizationName"]
    digest = hashlib.sha256(der or b"").hexdigest()
    return User(
        dict(subject).get("commonName", ""),
        groups=(*groups, "system:authenticated"),
        extra={"authentication.kubernetes.io/credential-id": [f"X509SHA256={digest}"]},
    )
