"""Reviews: resources that answer a question, and of which nothing is stored."""

from __future__ import annotations

from typing import Any, Final

from modules.apiserver.authentication.jwt import BadToken
from modules.apiserver.authentication.service_accounts import ISSUER, ServiceAccountTokens
from modules.apiserver.catalog import Resource
from modules.apiserver.meta import field_types
from modules.apiserver.meta.objects import Json, dig
from modules.apiserver.meta.status import bad_request
from modules.apiserver.meta.users import ADMINISTRATORS, User
from modules.common.times import format_now

_TOKEN_REVIEW: Final = {
    "spec": {"token": "string", "audiences": field_types.List("string")},
}


def review(resource: Resource, content: Any, user: User, tokens: ServiceAccountTokens) -> Json:
    """Return a review with its answer; raises ApiError (400)."""
    if not isinstance(content, dict):
        raise bad_request("the body of the request must be a JSON object")
    if (content.get("kind") or resource.kind) != resource.kind:
        raise bad_request(f"the body of the request must be a {resource.kind}")
    head: Json = {"kind": resource.kind, "apiVersion": resource.api_version}
    match resource.kind:
        case "TokenReview":
            return {**head, "metadata": {}, **_review_token(content, tokens)}
        case "SelfSubjectReview":
            metadata = {"creationTimestamp": format_now()}
            return {**head, "metadata": metadata, "status": {"userInfo": user.info()}}
    spec = content.get("spec") or {}
    return {**head, "metadata": {}, "spec": spec, "status": _access(spec, user)}


def _access(spec: Any, user: User) -> Json:
    if user.administrator:
        return {"allowed": True, "reason": f"member of {ADMINISTRATORS}"}
    reading = dig(spec, "nonResourceAttributes", "verb") in ("get", "head")
    return {"allowed": reading, "reason": "this server has no RBAC"}


def _review_token(content: Json, tokens: ServiceAccountTokens) -> Json:
    wrong = [cause.text() for cause in field_types.faults(content, _TOKEN_REVIEW)]
    if wrong:
        raise bad_request(f"the body of the request must be a TokenReview: {', '.join(wrong)}")
    spec = content.get("spec") or {}
    if not spec.get("token"):
        raise bad_request("token is required for TokenReview in authentication")
    try:
        user, audiences = tokens.user_of(spec["token"], spec.get("audiences") or [ISSUER])
    except BadToken as error:
        return {"spec": spec, "status": {"user": {}, "error": f"invalid bearer token: {error}"}}
    status = {"authenticated": True, "user": user.info(), "audiences": audiences}
    return {"spec": spec, "status": status}
