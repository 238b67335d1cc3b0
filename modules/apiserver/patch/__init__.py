"""The three ways to patch an object."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modules.apiserver.meta.objects import Json
from modules.apiserver.meta.status import bad_request, unsupported_media_type
from modules.apiserver.patch.jsonpatch import apply_json_patch
from modules.apiserver.patch.merge import apply_merge_patch
from modules.apiserver.patch.strategic import apply_strategic_patch

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCHES = ("application/apply-patch+yaml", "application/apply-patch+cbor")


def apply(
    media_type: str,
    obj: Json,
    patch: Any,
    *,
    custom: bool,
    merge_keys: Mapping[tuple[str, ...], str],
) -> Json:
    """Return `obj` with `patch` applied; `obj` may be modified.

    Raises ApiError: 400 for a malformed patch, 413 for too many operations, 415 as `check` does,
    422 for a patch that cannot be applied to the object.
    """
    check(media_type, custom=custom)
    try:
        return _apply(media_type, obj, patch, merge_keys)
    except RecursionError as error:
        raise bad_request("the patch or what it makes is nested too deeply") from error
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise bad_request(f"the patch has a value of a wrong type: {error}") from error


def _apply(
    media_type: str, obj: Json, patch: Any, merge_keys: Mapping[tuple[str, ...], str]
) -> Json:
    if media_type == JSON_PATCH:
        if not isinstance(patch, list):
            raise bad_request("a JSON patch (RFC 6902) must be a list of operations")
        patched = apply_json_patch(obj, patch)
        if not isinstance(patched, dict):
            raise bad_request("the patch leaves no object")
        return patched
    if not isinstance(patch, dict):
        raise bad_request("the patch must be a JSON object")
    if media_type == MERGE_PATCH:
        merged: Json = apply_merge_patch(obj, patch)
        return merged
    return apply_strategic_patch(obj, patch, merge_keys)


def check(media_type: str, *, custom: bool) -> None:
    """Raise ApiError (415) for an unsupported kind of patch.

    Custom resources have no strategic merge patches, as in Kubernetes. Call it before the lookup
    of the object: a server-side apply creates objects, so "not found" would be misleading.
    """
    if media_type in APPLY_PATCHES:
        raise unsupported_media_type(
            "server-side apply is not supported by this server: use client-side apply (kubectl "
            "apply without --server-side) or a merge patch"
        )
    accepted = [JSON_PATCH, MERGE_PATCH] + ([] if custom else [STRATEGIC_PATCH])
    if media_type not in accepted:
        raise unsupported_media_type(
            f"the body of the request was in an unknown format - accepted media types include: "
            f"{', '.join(accepted)}; found {media_type or 'none'}"
        )
