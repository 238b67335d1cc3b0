"""Responses: objects, lists and Tables, as JSON."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from modules.apiserver.catalog import Resource
from modules.apiserver.http.paging import Page
from modules.apiserver.http.routing import ListOptions
from modules.apiserver.http.tables import row, table
from modules.apiserver.meta.objects import Entry, Json, encode
from modules.apiserver.meta.status import ApiError
from modules.apiserver.turns import Turn, in_turns
from modules.common.http_library import aiohttp, web

JSON = "application/json"
# Longer responses are written in chunks of this size.
PIECE_BYTES = 256 * 1024
_END = b"]}"


def wants_table(request: web.Request) -> bool:
    """Whether the client accepts a Table; every client accepts plain JSON."""
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
        include_object = request.query.get("includeObject", "Metadata")
        metadata = {"resourceVersion": str(entry.revision)}
        built = table(
            resource.columns, [resource.decode(entry)], metadata, include_object=include_object
        )
        return json_response(built, status=status)
    return raw_response(resource.raw(entry), status=status)


async def list_response(
    request: web.Request, resource: Resource, entries: Sequence[Entry], metadata: Json
) -> web.StreamResponse:
    """Send a list or a Table of it, encoded in turns and streamed with back-pressure."""
    if wants_table(request):
        include_object = request.query.get("includeObject", "Metadata")
        head = table(resource.columns, (), metadata)
        rows = (row(resource.columns, resource.decode(entry), include_object) for entry in entries)
        return await _stream(request, head, "rows", await in_turns(map(encode, rows)))
    head = {
        "kind": f"{resource.kind}List",
        "apiVersion": resource.api_version,
        "metadata": metadata,
    }
    return await _stream(request, head, "items", list(map(resource.raw, entries)))


async def _stream(
    request: web.Request, head: Json, member: str, items: Sequence[bytes]
) -> web.StreamResponse:
    """Write `head` with a list of encoded items as its last member."""
    head.pop(member, None)
    begin = b'%b,"%b":[' % (encode(head)[:-1], member.encode())
    length = len(begin) + sum(map(len, items)) + max(0, len(items) - 1) + len(_END)
    if length <= PIECE_BYTES:
        return raw_response(begin + b",".join(items) + _END)
    response = web.StreamResponse(headers={"Content-Type": JSON})
    response.content_length = length
    await response.prepare(request)
    if request.method != "HEAD":
        with contextlib.suppress(aiohttp.ClientConnectionResetError):  # the client has disconnected
            await _write(response, begin, items)
    return response


async def _write(response: web.StreamResponse, begin: bytes, items: Sequence[bytes]) -> None:
    turn = Turn()
    piece, size = [begin], len(begin)
    for index, item in enumerate(items):
        piece += (b",", item) if index else (item,)
        size += len(item) + 1
        if size >= PIECE_BYTES:
            await response.write(b"".join(piece))
            piece, size = [], 0
        if turn.is_over:
            await turn.next()
    await response.write(b"".join((*piece, _END)))
    await response.write_eof()


def list_metadata(page: Page, options: ListOptions) -> Json:
    metadata: Json = {"resourceVersion": str(page.revision)}
    if page.token:
        metadata["continue"] = page.token
        # With a selector Kubernetes omits the number of remaining items; clients expect that.
        if not options.selector:
            metadata["remainingItemCount"] = page.remaining
    return metadata


def json_response(obj: Json, *, status: int = 200) -> web.Response:
    return raw_response(encode(obj), status=status)


def raw_response(body: bytes, *, status: int = 200) -> web.Response:
    return web.Response(body=body, status=status, content_type=JSON)


def error_response(error: ApiError) -> web.Response:
    return json_response(error.status(), status=error.code)
