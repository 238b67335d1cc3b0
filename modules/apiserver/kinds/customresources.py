"""CustomResourceDefinitions: their defaults, and the resource that each of them defines."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from modules.apiserver.catalog import Resource
from modules.apiserver.columns.crds import custom_columns
from modules.apiserver.kinds import crdrules
from modules.apiserver.meta import field_types
from modules.apiserver.meta.objects import Json, dig
from modules.apiserver.meta.status import Cause, invalid_value
from modules.common.times import format_now


def defaults(crd: Json) -> None:
    """Complete the names, and set the status: a CRD is Established at once."""
    names = dig(crd, "spec", "names")
    if not isinstance(names, dict):
        return
    kind = names.get("kind")
    if isinstance(kind, str):
        names["singular"] = names.get("singular") or kind.lower()
        names["listKind"] = names.get("listKind") or f"{kind}List"
    crd["spec"].setdefault("conversion", {"strategy": "None"})
    stored = [version.get("name") for version in _versions(crd) if version.get("storage")]
    before = dig(crd, "status", "conditions")
    crd["status"] = {
        "acceptedNames": names,
        "storedVersions": stored,
        "conditions": before
        if isinstance(before, list) and before
        else [
            _condition("NamesAccepted", "NoConflicts", "no conflicts found"),
            _condition("Established", "InitialNamesAccepted", "the names have been accepted"),
        ],
    }


def _condition(type_: str, reason: str, message: str) -> Json:
    return {
        "type": type_,
        "status": "True",
        "lastTransitionTime": format_now(),
        "reason": reason,
        "message": message,
    }


def validate_update(new: Json, old: Json) -> list[Cause]:
    return [
        invalid_value(f"spec.{'.'.join(path)}", dig(new, "spec", *path), "field is immutable")
        for path in (("group",), ("scope",), ("names", "plural"), ("names", "kind"))
        if dig(new, "spec", *path) != dig(old, "spec", *path)
    ]


def resource_of(crd: Json) -> Resource:
    """Return the resource that a CRD defines: its storage version, with the others in it.

    Raises ValueError if the CRD is unusable; earlier versions stored such CRDs.
    """
    wrong = [cause.text() for cause in field_types.faults(crd, crdrules.USED)]
    if wrong:
        raise ValueError(", ".join(wrong))
    try:
        return _resource_of(crd)
    except (LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"it lacks a field ({error})") from error


def _resource_of(crd: Json) -> Resource:
    versions = _versions(crd)
    version = next((version for version in versions if version.get("storage")), None)
    if version is None:
        raise ValueError("spec.versions: none is the storage version")
    resource = _in_version(crd, version)
    if resource.storage != crd["metadata"]["name"]:
        raise ValueError(f"its name is not {resource.storage}")
    others = (_in_version(crd, each) for each in versions if each is not version)
    return replace(
        resource,
        other_versions=tuple(replace(each, stored_as=resource.api_version) for each in others),
    )


def _in_version(crd: Json, version: Json) -> Resource:
    spec = crd["spec"]
    names = spec["names"]
    fields = (item["jsonPath"] for item in version.get("selectableFields") or ())
    schema = dig(version, "schema", "openAPIV3Schema")
    return Resource(
        spec["group"],
        version["name"],
        names["kind"],
        names["plural"],
        namespaced=spec["scope"] == "Namespaced",
        singular=names.get("singular") or "",
        short_names=tuple(names.get("shortNames") or ()),
        categories=tuple(names.get("categories") or ()),
        status=dig(version, "subresources", "status") is not None,
        custom=True,
        served=bool(version.get("served")),
        columns=custom_columns(version.get("additionalPrinterColumns") or []),
        selectable={path.lstrip("."): path.lstrip(".").split(".") for path in fields},
        schema=schema if isinstance(schema, dict) else None,
    )


def _versions(crd: Json) -> list[dict[str, Any]]:
    versions = dig(crd, "spec", "versions")
    return (
        [item for item in versions if isinstance(item, dict)] if isinstance(versions, list) else []
    )
