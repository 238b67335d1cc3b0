"""CustomResourceDefinitions: their rules, and the resource that each makes served."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from modules.apiserver.columns.cells import dig
from modules.apiserver.columns.crds import custom_columns, find
from modules.apiserver.objects import Json
from modules.apiserver.resources import Resource
from modules.apiserver.status import Cause, invalid_value, not_supported, required

_SCOPES = ["Namespaced", "Cluster"]


def defaults(crd: Json) -> None:
    """Complete the names, and say in the status that it is served (it is, at once)."""
    names = dig(crd, "spec", "names")
    if not isinstance(names, dict):
        return
    kind = str(names.get("kind", ""))
    names.setdefault("singular", kind.lower())
    names.setdefault("listKind", f"{kind}List")
    crd["spec"].setdefault("conversion", {"strategy": "None"})
    stored = [version.get("name") for version in _versions(crd) if version.get("storage")]
    before = dig(crd, "status", "conditions") or []
    crd["status"] = {
        "acceptedNames": names,
        "storedVersions": stored,
        "conditions": before
        or [
            _condition("NamesAccepted", "NoConflicts", "no conflicts found"),
            _condition("Established", "InitialNamesAccepted", "the names have been accepted"),
        ],
    }


def _condition(type_: str, reason: str, message: str) -> Json:
    return {
        "type": type_,
        "status": "True",
        "lastTransitionTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "reason": reason,
        "message": message,
    }


def validate(crd: Json) -> list[Cause]:
    spec = crd.get("spec")
    if not isinstance(spec, dict):
        return [required("spec")]
    causes = [
        required(f"spec.{'.'.join(path)}")
        for path in (("group",), ("names", "plural"), ("names", "kind"))
        if not dig(spec, *path)
    ]
    if spec.get("scope") not in _SCOPES:
        causes.append(not_supported("spec.scope", spec.get("scope"), _SCOPES))
    name = f"{dig(spec, 'names', 'plural')}.{spec.get('group')}"
    if not causes and crd["metadata"].get("name") != name:
        found = crd["metadata"].get("name")
        causes.append(invalid_value("metadata.name", found, f'must be "{name}"'))
    if sum(bool(version.get("storage")) for version in _versions(crd)) != 1:
        causes.append(
            invalid_value("spec.versions", len(_versions(crd)), "exactly one must be the storage")
        )
    return causes + _column_faults(crd)


def validate_update(new: Json, old: Json) -> list[Cause]:
    return [
        invalid_value(f"spec.{'.'.join(path)}", dig(new, "spec", *path), "field is immutable")
        for path in (("group",), ("scope",), ("names", "plural"), ("names", "kind"))
        if dig(new, "spec", *path) != dig(old, "spec", *path)
    ]


def _column_faults(crd: Json) -> list[Cause]:
    causes = []
    for index, version in enumerate(_versions(crd)):
        for number, column in enumerate(version.get("additionalPrinterColumns") or ()):
            field = f"spec.versions[{index}].additionalPrinterColumns[{number}]"
            if not column.get("name"):
                causes.append(required(f"{field}.name"))
            try:
                find({}, str(column.get("jsonPath", "")))
            except ValueError as error:
                causes.append(invalid_value(f"{field}.jsonPath", column["jsonPath"], str(error)))
    return causes


def resource_of(crd: Json) -> Resource | None:
    """Return what a CRD makes served: its storage version, unless that is not served."""
    spec = crd["spec"]
    names = spec["names"]
    version = next(version for version in _versions(crd) if version.get("storage"))
    if not version.get("served"):
        return None
    fields = (str(item["jsonPath"]) for item in version.get("selectableFields") or ())
    return Resource(
        spec["group"],
        version["name"],
        names["kind"],
        names["plural"],
        namespaced=spec["scope"] == "Namespaced",
        singular=names.get("singular", ""),
        short_names=tuple(names.get("shortNames") or ()),
        categories=tuple(names.get("categories") or ()),
        status=dig(version, "subresources", "status") is not None,
        custom=True,
        columns=custom_columns(version.get("additionalPrinterColumns") or []),
        selectable={path.lstrip("."): path.lstrip(".").split(".") for path in fields},
        schema=dig(version, "schema", "openAPIV3Schema"),
    )


def _versions(crd: Json) -> list[dict[str, Any]]:
    versions = dig(crd, "spec", "versions")
    return [item for item in versions or () if isinstance(item, dict)]
