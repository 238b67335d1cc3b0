"""OpenAPI version 3, as far as kubectl uses it.

kubectl looks in version 3 whether the server validates fields (`fieldValidation` on PATCH). This
one does not and so does not announce it; kubectl then validates by version 2 (see openapi_v2.py).
The media type of strategic merge patches is not listed either: otherwise kubectl would take merge
keys from these schemas instead of its built-in ones. The schemas are those of the CRDs.
"""

from __future__ import annotations

import asyncio
import hashlib

from modules.apiserver.catalog import Catalog, Resource
from modules.apiserver.http.discovery import GIT_VERSION
from modules.apiserver.http.responses import JSON
from modules.apiserver.meta.objects import Json, encode
from modules.apiserver.meta.status import no_such_path, not_acceptable
from modules.apiserver.patch import JSON_PATCH, MERGE_PATCH

_INFO: Json = {"title": "cloudcore", "version": GIT_VERSION}
_V2: Json = {"swagger": "2.0", "info": _INFO, "paths": {}}
_ANYTHING: Json = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


async def v2(accept: str) -> tuple[str, bytes]:
    """Return the media type and content of /openapi/v2; raises ApiError (406).

    The schemas are read at the first request, which takes a second.
    """
    from modules.apiserver.http import openapi_v2

    accepted = [part.partition(";")[0].strip() for part in accept.split(",")] if accept else ["*/*"]
    for media_type in accepted:
        if media_type in openapi_v2.MEDIA_TYPES:
            document = await asyncio.to_thread(
                openapi_v2.document, _INFO["title"], _INFO["version"]
            )
            # The other one is not a media type by the rules of MIME.
            return openapi_v2.MEDIA_TYPES[0], document
        if media_type in (JSON, "application/*", "*/*"):
            definitions = await asyncio.to_thread(openapi_v2.definitions)
            document = encode({**_V2, "definitions": definitions})
            return JSON, document
    raise not_acceptable([*openapi_v2.MEDIA_TYPES, JSON])


def v3_index(catalog: Catalog) -> Json:
    """Return /openapi/v3: a document for each group and version, with a hash for caches."""
    paths = dict.fromkeys(resource.base_path for resource in catalog)
    return {"paths": {path: {"serverRelativeURL": _url(catalog, path)} for path in paths}}


def v3_document(catalog: Catalog, base_path: str) -> Json:
    """Return the document of one group and version, such as /openapi/v3/api/v1."""
    served = [resource for resource in catalog if resource.base_path == base_path]
    if not served:
        raise no_such_path()
    paths: Json = {}
    schemas: Json = {}
    for resource in served:
        schemas[_schema_name(resource)] = {
            **(resource.schema or _ANYTHING),
            "x-kubernetes-group-version-kind": [_gvk(resource)],
        }
        paths |= _paths(resource)
    return {"openapi": "3.0.0", "info": _INFO, "paths": paths, "components": {"schemas": schemas}}


def _url(catalog: Catalog, path: str) -> str:
    digest = hashlib.sha256(encode(v3_document(catalog, path))).hexdigest()[:32]
    return f"/openapi/v3/{path}?hash={digest}"


def _schema_name(resource: Resource) -> str:
    reverse = ".".join(reversed(resource.group.split("."))) if resource.group else "core"
    return f"{reverse}.{resource.version}.{resource.kind}"


def _gvk(resource: Resource) -> Json:
    return {"group": resource.group, "version": resource.version, "kind": resource.kind}


def _paths(resource: Resource) -> Json:
    scope = "/namespaces/{namespace}" if resource.namespaced else ""
    collection = f"/{resource.base_path}{scope}/{resource.plural}"
    in_path = ["namespace"] if resource.namespaced else []
    if resource.virtual:
        return {collection: {"post": _operation(resource, "post", ["application/json"])}}
    return {
        collection: {
            "parameters": [_parameter(name, "path") for name in in_path],
            "get": _operation(resource, "list"),
            "post": _operation(resource, "post", ["application/json"]),
        },
        f"{collection}/{{name}}": {
            "parameters": [_parameter(name, "path") for name in [*in_path, "name"]],
            "get": _operation(resource, "get"),
            "put": _operation(resource, "put", ["application/json"]),
            "patch": _operation(resource, "patch", [JSON_PATCH, MERGE_PATCH]),
            "delete": _operation(resource, "delete"),
        },
    }


def _operation(resource: Resource, action: str, bodies: list[str] | None = None) -> Json:
    reference = {"$ref": f"#/components/schemas/{_schema_name(resource)}"}
    operation: Json = {
        "responses": {
            "200": {"description": "OK", "content": {"application/json": {"schema": reference}}}
        },
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": _gvk(resource),
    }
    if bodies:
        operation["parameters"] = [_parameter(name, "query") for name in ("dryRun", "fieldManager")]
        operation["requestBody"] = {
            "required": True,
            "content": {media_type: {"schema": reference} for media_type in bodies},
        }
    return operation


def _parameter(name: str, place: str) -> Json:
    parameter: Json = {"name": name, "in": place, "schema": {"type": "string"}}
    if place == "path":
        parameter["required"] = True
    return parameter
