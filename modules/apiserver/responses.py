"""Answers: objects, lists and Tables, as JSON."""

from __future__ import annotations

from collections.abc import Iterable

from aiohttp import web

from modules.apiserver.objects import Entry, Json, encode
from modules.apiserver.paging import Page
from modules.apiserver.resources import Resource
from modules.apiserver.routing import ListOptions
from modules.apiserver.status import ApiError
from modules.apiserver.tables import table

JSON = "application/json"


def wants_table(request: web.Request) -> bool:
    """Look for a Table among what is accepted; plain JSON is what everybody takes."""
    for accepted in request.headers.get("Accept", "").split(","):
        media_type, *parameters = (part.strip() for part in accepted.split(";"))
        if media_type != JSON:
            continue
        if "as=Table" in parameters and "g=meta.k8s.io" in parameters:
            return "v=v1" in parameters
        if not any(parameter.startswith("as=") for parameter in parameters):
            return False
    return False


def object_response(
    request: web.Request, resource: Resource, entry: Entry, *, status: int = 200
) -> web.Response:
    if wants_table(request):
        return table_response(
            request, resource, [entry], {"resourceVersion": str(entry.revision)}, status=status
        )
    return raw_response(entry.raw, status=status)


def table_response(
    request: web.Request,
    resource: Resource,
    entries: Iterable[Entry],
    metadata: Json,
    *,
    status: int = 200,
) -> web.Response:
    include_object = request.query.get("includeObject", "Metadata")
    objects = (entry.decode() for entry in entries)
    built = table(resource.columns, objects, metadata, include_object=include_object)
    return json_response(built, status=status)


def list_metadata(page: Page, options: ListOptions) -> Json:
    metadata: Json = {"resourceVersion": str(page.revision)}
    if page.token:
        metadata["continue"] = page.token
        # With a selector Kubernetes does not know how many are left; clients expect that.
        if not options.selector:
            metadata["remainingItemCount"] = page.remaining
    return metadata


def list_body(resource: Resource, entries: Iterable[Entry], metadata: Json) -> bytes:
    head = {
        "kind": f"{resource.kind}List",
        "apiVersion": resource.api_version,
        "metadata": metadata,
    }
    items = b",".join(entry.raw for entry in entries)
    return b'%b,"items":[%b]}' % (encode(head)[:-1], items)


def json_response(obj: Json, *, status: int = 200) -> web.Response:
    return raw_response(encode(obj), status=status)


def raw_response(body: bytes, *, status: int = 200) -> web.Response:
    return web.Response(body=body, status=status, content_type=JSON)


def error_response(error: ApiError) -> web.Response:
    return json_response(error.status(), status=error.code)
