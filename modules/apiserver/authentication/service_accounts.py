"""Tokens of service accounts: issued by TokenRequests, and accepted while they are valid.

Claims and checks are those of kube-apiserver (pkg/serviceaccount/claims.go and
pkg/registry/core/serviceaccount/storage/token.go). One thing is left out: kube-apiserver makes the
token that a pod gets by default valid for a year instead of an hour, for programs that do not read
it again.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any, Final

from modules.apiserver.authentication.jwt import BadToken, TokenKey
from modules.apiserver.meta import field_types
from modules.apiserver.meta.objects import Json, dig
from modules.apiserver.meta.status import (
    ApiError,
    Cause,
    bad_request,
    conflict,
    invalid,
    invalid_value,
)
from modules.apiserver.meta.users import User
from modules.apiserver.registry.registry import Registry
from modules.common.times import format_now, format_time

#: The issuer, and the audience of tokens for this server: the default of kubeadm.
ISSUER: Final = "https://kubernetes.default.svc.cluster.local"
#: Seconds that an object is still accepted after its deletion, and that clocks may differ.
LEEWAY: Final = 60
DEFAULT_SECONDS: Final = 3600
_SHORTEST: Final = 600
_LONGEST: Final = 1 << 32
_GROUP: Final = "authentication.k8s.io"
_BOUND: Final = {"Pod": "pods", "Node": "nodes", "Secret": "secrets"}
_REQUEST: Final = {
    "apiVersion": "string",
    "kind": "string",
    "metadata": {"name": "string", "namespace": "string"},
    "spec": {
        "audiences": field_types.List("string"),
        "expirationSeconds": "integer",
        "boundObjectRef": {
            "kind": "string", "apiVersion": "string", "name": "string", "uid": "string",
        },
    },
}  # fmt: skip
_REFERENCE: Final = {"name": "string", "uid": "string"}
_CLAIMS: Final = {
    "iss": "string",
    "sub": "string",
    "jti": "string",
    "aud": field_types.List("string"),
    "exp": "integer",
    "nbf": "integer",
    "kubernetes.io": {
        "namespace": "string",
        "serviceaccount": _REFERENCE,
        "pod": _REFERENCE,
        "secret": _REFERENCE,
        "node": _REFERENCE,
    },
}


class ServiceAccountTokens:
    """Issues and verifies the tokens of service accounts."""

    def __init__(
        self, registry: Registry, key: TokenKey, clock: Callable[[], float] = time.time
    ) -> None:
        self._registry = registry
        self._key = key
        self._clock = clock

    def jwks(self) -> Json:
        """Return the public keys that verify the tokens (RFC 7517)."""
        return {"keys": [self._key.jwk()]}

    def issue(self, namespace: str, name: str, request: Any, *, dry_run: bool = False) -> Json:
        """Return a TokenRequest with its token; raises ApiError."""
        _check_request(request, namespace, name)
        account = self._find("serviceaccounts", namespace, name)
        spec = {
            field: value
            for field, value in (request.get("spec") or {}).items()
            if value is not None
        }
        spec["audiences"] = spec.get("audiences") or [ISSUER]
        spec.setdefault("boundObjectRef", None)
        seconds = spec.setdefault("expirationSeconds", DEFAULT_SECONDS)
        if faults := _duration_faults(seconds):
            raise invalid("TokenRequest", _GROUP, "", faults)
        bound = self._bound(namespace, name, spec["boundObjectRef"])
        now = int(self._clock())
        claims = {
            "aud": spec["audiences"],
            "exp": now + seconds,
            "iat": now,
            "iss": ISSUER,
            "jti": str(uuid.uuid4()),
            "kubernetes.io": {
                "namespace": namespace, **bound, "serviceaccount": _reference(account),
            },
            "nbf": now,
            "sub": f"system:serviceaccount:{namespace}:{name}",
        }  # fmt: skip
        return {
            "kind": "TokenRequest",
            "apiVersion": f"{_GROUP}/v1",
            "metadata": {
                **(request.get("metadata") or {}),
                "name": name,
                "namespace": namespace,
                "uid": account["metadata"]["uid"],
                "creationTimestamp": format_now(),
            },
            "spec": spec,
            "status": {
                "token": "" if dry_run else self._key.sign(claims),
                "expirationTimestamp": _shown(now + seconds),
            },
        }

    def user_of(self, token: str, audiences: Iterable[str] = (ISSUER,)) -> tuple[User, list[str]]:
        """Return the user of a token, and those of `audiences` that it is for; raises BadToken."""
        claims = self._key.read(token)
        wrong = next(field_types.faults(claims, _CLAIMS), None)
        if wrong is not None or claims.get("iss") != ISSUER:
            raise BadToken("it is not a token of a service account of this server")
        self._check_time(claims)
        wanted = list(audiences)
        common = [audience for audience in wanted if audience in (claims.get("aud") or ())]
        if not common:
            raise BadToken(
                f"token audiences {_quoted(claims.get('aud') or ())} is invalid for the target "
                f"audiences {_quoted(wanted)}"
            )
        return self._account_of(claims), common

    def _check_time(self, claims: Json) -> None:
        now = self._clock()
        if now > (claims.get("exp") or 0) + LEEWAY:
            raise BadToken("service account token has expired")
        if now < (claims.get("nbf") or 0) - LEEWAY:
            raise BadToken("service account token is not valid yet")

    def _account_of(self, claims: Json) -> User:
        about = claims.get("kubernetes.io") or {}
        namespace, account = about.get("namespace") or "", about.get("serviceaccount") or {}
        name, uid = account.get("name") or "", account.get("uid") or ""
        self._check_present("serviceaccounts", namespace, account)
        extra = {"authentication.kubernetes.io/credential-id": [f"JTI={claims.get('jti') or ''}"]}
        for kind, plural in _BOUND.items():
            bound = about.get(kind.lower())
            if not bound:
                continue
            # The node of a pod is information alone.
            if not (kind == "Node" and about.get("pod")):
                self._check_present(plural, "" if kind == "Node" else namespace, bound)
            if kind != "Secret":
                for field in ("name", "uid"):
                    if bound.get(field):
                        extra[f"authentication.kubernetes.io/{kind.lower()}-{field}"] = [
                            bound[field]
                        ]
        groups = (
            "system:serviceaccounts",
            f"system:serviceaccounts:{namespace}",
            "system:authenticated",
        )
        return User(f"system:serviceaccount:{namespace}:{name}", uid, groups, extra)

    def _check_present(self, plural: str, namespace: str, bound: Json) -> None:
        """Raise BadToken unless an object is there, is the same one, and was not deleted."""
        try:
            metadata = self._find(plural, namespace, bound.get("name") or "")["metadata"]
        except ApiError as error:
            raise BadToken("service account token has been invalidated") from error
        deleted = metadata.get("deletionTimestamp")
        before = self._clock() - LEEWAY
        if metadata["uid"] != bound.get("uid") or (
            deleted and datetime.fromisoformat(deleted).timestamp() < before
        ):
            raise BadToken("service account token has been invalidated")

    def _bound(self, namespace: str, account: str, reference: Json | None) -> Json:
        """Return the claims about the object that a token is bound to."""
        if reference is None:
            return {}
        kind = reference.get("kind") or ""
        if kind not in _BOUND or reference.get("apiVersion") not in (None, "", "v1"):
            raise bad_request(
                f"cannot bind token to object of type {reference.get('apiVersion')}, Kind={kind}"
            )
        wanted = reference.get("name") or ""
        if not wanted:
            raise bad_request("spec.boundObjectRef.name is required")
        found = self._find(_BOUND[kind], "" if kind == "Node" else namespace, wanted)
        claims = {kind.lower(): _reference(found)}
        if kind == "Pod":
            # Pods from before this server had service accounts name none.
            if (dig(found, "spec", "serviceAccountName") or "default") != account:
                raise bad_request(
                    f'cannot bind token for serviceaccount "{account}" to pod running with '
                    "different serviceaccount name."
                )
            claims |= self._node_of(found)
        uid = reference.get("uid")
        if uid and uid != found["metadata"]["uid"]:
            raise conflict(
                kind,
                "",
                wanted,
                f"the UID in the bound object reference ({uid}) does not match the UID in record. "
                "The object might have been deleted and then recreated",
            )
        return claims

    def _node_of(self, pod: Json) -> Json:
        name = dig(pod, "spec", "nodeName")
        if not name:
            return {}
        try:
            return {"node": _reference(self._find("nodes", "", name))}
        except ApiError:
            return {"node": {"name": name}}

    def _find(self, plural: str, namespace: str, name: str) -> Json:
        resource = self._registry.catalog.find("", "v1", plural)
        return self._registry.get(resource, namespace, name).decode()


def _check_request(request: Any, namespace: str, name: str) -> None:
    wrong = [cause.text() for cause in field_types.faults(request, _REQUEST)]
    if wrong:
        raise bad_request(f"the body of the request must be a TokenRequest: {', '.join(wrong)}")
    if (request.get("kind") or "TokenRequest") != "TokenRequest":
        raise bad_request(f"the body of the request must be a TokenRequest, not {request['kind']}")
    metadata = request.get("metadata") or {}
    for field, expected in (("name", name), ("namespace", namespace)):
        if (metadata.get(field) or expected) != expected:
            text = f"must match the service account {field} if specified"
            fault = invalid_value(f"metadata.{field}", metadata[field], text)
            raise invalid("TokenRequest", _GROUP, name, [fault])


def _duration_faults(seconds: int) -> list[Cause]:
    field = "spec.expirationSeconds"
    if seconds < _SHORTEST:
        return [invalid_value(field, seconds, "may not specify a duration less than 10 minutes")]
    if seconds > _LONGEST:
        return [
            invalid_value(field, seconds, "may not specify a duration larger than 2^32 seconds")
        ]
    return []


def _reference(obj: Json) -> Json:
    return {"name": obj["metadata"]["name"], "uid": obj["metadata"]["uid"]}


def _shown(timestamp: int) -> str:
    return format_time(datetime.fromtimestamp(timestamp, UTC))


def _quoted(audiences: Iterable[str]) -> str:
    return "[" + " ".join(f'"{audience}"' for audience in audiences) + "]"
