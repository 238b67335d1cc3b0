"""What a request's body says."""

from __future__ import annotations

from typing import Any

import msgspec
from aiohttp import web

from modules.apiserver import deletion, protobuf, routing
from modules.apiserver.objects import decode
from modules.apiserver.status import bad_request, unsupported_media_type

JSON = "application/json"
_UNSUPPORTED = (
    "the body of the request was in an unknown format - accepted media types include: "
    f"{JSON}, {protobuf.MEDIA_TYPE}; found "
)


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
    content = await body(request) if request.can_read_body else {}
    if not isinstance(content, dict):
        raise bad_request("the body of a DELETE must be DeleteOptions")
    preconditions = content.get("preconditions") or {}
    grace = routing.number(request.query, "gracePeriodSeconds")
    return deletion.Options(
        grace_seconds=content.get("gracePeriodSeconds") if grace is None else grace,
        uid=preconditions.get("uid") or "",
        resource_version=preconditions.get("resourceVersion") or "",
        dry_run=routing.dry_run(request.query) or bool(content.get("dryRun")),
    )
