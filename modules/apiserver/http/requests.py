"""Decoding of request bodies."""

from __future__ import annotations

from typing import Any

import msgspec

from modules.apiserver.http import protobuf, routing
from modules.apiserver.meta import field_types
from modules.apiserver.meta.objects import decode
from modules.apiserver.meta.status import (
    Cause,
    bad_request,
    invalid,
    not_supported,
    unsupported_media_type,
)
from modules.apiserver.registry import deletion
from modules.common.http_library import web

JSON = "application/json"
_UNSUPPORTED = (
    "the body of the request was in an unknown format - accepted media types include: "
    f"{JSON}, {protobuf.MEDIA_TYPE}; found "
)
_DELETE_OPTIONS = {
    "gracePeriodSeconds": "integer",
    "preconditions": {"uid": "string", "resourceVersion": "string"},
    "orphanDependents": "boolean",
    "propagationPolicy": "string",
    "dryRun": field_types.List("string"),
}
_PROPAGATION = ["Background", "Foreground", "Orphan"]


async def body(request: web.Request) -> Any:
    if request.content_type == protobuf.MEDIA_TYPE:
        return protobuf.decode_body(await request.read())
    if request.content_type not in (JSON, "application/octet-stream"):
        raise unsupported_media_type(_UNSUPPORTED + request.content_type)
    return decoded(await request.read())


def decoded(data: bytes) -> Any:
    try:
        return decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise bad_request(f"the body of the request is not valid JSON: {error}") from error
    except RecursionError as error:
        raise bad_request("the body of the request is nested too deeply") from error


async def delete_options(request: web.Request) -> deletion.Options:
    """Read DeleteOptions from query and body; raises ApiError (400, 422 for an invalid value)."""
    content = await body(request) if request.can_read_body else {}
    wrong = [cause.text() for cause in field_types.faults(content, _DELETE_OPTIONS)]
    if wrong:
        raise bad_request(f"the body of a DELETE must be DeleteOptions: {', '.join(wrong)}")
    faults = _option_faults(content)
    if faults:
        raise invalid("DeleteOptions", "meta.k8s.io", "", faults)
    preconditions = content.get("preconditions") or {}
    grace = routing.number(request.query, "gracePeriodSeconds")
    return deletion.Options(
        grace_seconds=content.get("gracePeriodSeconds") if grace is None else grace,
        uid=preconditions.get("uid") or "",
        resource_version=preconditions.get("resourceVersion") or "",
        dry_run=routing.dry_run(request.query) or bool(content.get("dryRun")),
    )


def _option_faults(content: dict[str, Any]) -> list[Cause]:
    policy = content.get("propagationPolicy")
    faults = [
        not_supported("dryRun", name, ["All"])
        for name in content.get("dryRun") or ()
        if name != "All"
    ]
    if policy and policy not in _PROPAGATION:
        faults.append(not_supported("propagationPolicy", policy, _PROPAGATION))
    return faults
