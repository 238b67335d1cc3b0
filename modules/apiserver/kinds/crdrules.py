"""Validation of CustomResourceDefinitions: the types of their fields, and the rules of upstream.

Rules and texts follow k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/validation, for the
fields that are used here. Wrong types, for which upstream's decoder answers 400, are reported as
422 together with all other faults.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

from modules.apiserver.catalog import Resource
from modules.apiserver.columns.crds import find
from modules.apiserver.meta import field_types
from modules.apiserver.meta.names import SUBDOMAIN_RULE
from modules.apiserver.meta.objects import Json, dig
from modules.apiserver.meta.status import Cause, invalid_value, not_supported, required
from modules.common.dns_names import is_subdomain

_SCOPES: Final = ["Namespaced", "Cluster"]
_CONVERSIONS: Final = ["None", "Webhook"]
_COLUMN_TYPES: Final = ["boolean", "date", "integer", "number", "string"]
_COLUMN_FORMATS: Final = [
    "binary", "bsonobjectid", "byte", "cidr", "date", "date-time", "datetime", "double",
    "duration", "email", "float", "hostname", "int32", "int64", "ipv4", "ipv6", "mac", "password",
    "uri", "uuid",
]  # fmt: skip
_SCHEMA_TYPES: Final = ["array", "boolean", "integer", "number", "object", "string"]
_DNS_LABEL: Final = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
_DNS_LABEL_RULE: Final = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an "
    "alphabetic character, and end with an alphanumeric character (e.g. 'my-name')"
)
_SIMPLE_PATH: Final = re.compile(r"(\.[A-Za-z_$][-A-Za-z0-9_$]*)+")

# The fields of JSONSchemaProps that clients read from /openapi.
_SCHEMA: Final[dict[str, Any]] = {}
_SCHEMA.update({
    **dict.fromkeys(
        ("id", "$schema", "$ref", "description", "type", "format", "title", "pattern",
         "x-kubernetes-list-type", "x-kubernetes-map-type"),
        "string",
    ),
    **dict.fromkeys(
        ("uniqueItems", "exclusiveMaximum", "exclusiveMinimum", "nullable",
         "x-kubernetes-preserve-unknown-fields", "x-kubernetes-embedded-resource",
         "x-kubernetes-int-or-string"),
        "boolean",
    ),
    **dict.fromkeys(
        ("maxLength", "minLength", "maxItems", "minItems", "maxProperties", "minProperties"),
        "integer",
    ),
    **dict.fromkeys(("maximum", "minimum", "multipleOf"), "number"),
    **dict.fromkeys(("allOf", "anyOf", "oneOf"), field_types.List(_SCHEMA)),
    **dict.fromkeys(
        ("properties", "patternProperties", "definitions"), field_types.Map(_SCHEMA)
    ),
    **dict.fromkeys(("additionalProperties", "additionalItems"), field_types.OneOf(_SCHEMA)),
    **dict.fromkeys(("required", "x-kubernetes-list-map-keys"), field_types.List("string")),
    "items": _SCHEMA,
    "not": _SCHEMA,
    "enum": field_types.List("anything"),
    "externalDocs": {"description": "string", "url": "string"},
    "x-kubernetes-validations": field_types.List({"rule": "string", "message": "string"}),
})  # fmt: skip
_COLUMN: Final = {
    **dict.fromkeys(("name", "type", "format", "description", "jsonPath"), "string"),
    "priority": "integer",
}
_VERSION: Final = {
    "name": "string",
    "served": "boolean",
    "storage": "boolean",
    "deprecated": "boolean",
    "deprecationWarning": "string",
    "schema": {"openAPIV3Schema": _SCHEMA},
    "subresources": {
        "status": {},
        "scale": dict.fromkeys(
            ("specReplicasPath", "statusReplicasPath", "labelSelectorPath"), "string"
        ),
    },
    "additionalPrinterColumns": field_types.List(_COLUMN),
    "selectableFields": field_types.List({"jsonPath": "string"}),
}
_NAMES: Final = {
    **dict.fromkeys(("plural", "singular", "kind", "listKind"), "string"),
    "shortNames": field_types.List("string"),
    "categories": field_types.List("string"),
}
_CRD: Final = {
    "spec": {
        "group": "string",
        "scope": "string",
        "names": _NAMES,
        "versions": field_types.List(_VERSION),
        "conversion": {"strategy": "string", "webhook": {}},
        "preserveUnknownFields": "boolean",
    }
}
# Fields without which nothing can be served.
USED: Final = {
    "metadata": {"name": "string"},
    "spec": {
        "group": "string",
        "scope": "string",
        "names": _NAMES,
        "versions": field_types.List(
            {
                field: _VERSION[field]
                for field in ("name", "additionalPrinterColumns", "selectableFields")
            }
        ),
    },
}


def validate(crd: Json) -> list[Cause]:
    """Return all faults of a CRD; without any, it can be served."""
    spec = crd.get("spec")
    if spec is None:
        return [required("spec")]
    wrong = list(field_types.faults(crd, _CRD))
    if wrong:
        return wrong
    causes = [*_group_faults(spec), *_name_faults(spec.get("names") or {}), *_version_faults(spec)]
    if spec.get("scope") not in _SCOPES:
        causes.append(not_supported("spec.scope", spec.get("scope"), _SCOPES))
    strategy = dig(spec, "conversion", "strategy")
    if strategy not in (None, *_CONVERSIONS):
        causes.append(not_supported("spec.conversion.strategy", strategy, _CONVERSIONS))
    name, found = f"{dig(spec, 'names', 'plural')}.{spec.get('group')}", crd["metadata"].get("name")
    if found != name:
        causes.append(
            invalid_value("metadata.name", found, 'must be spec.names.plural+"."+spec.group')
        )
    return causes


def claims(crd: Json, built_in: Iterable[Resource]) -> list[Cause]:
    """Return the names of a CRD that belong to a built-in resource of the same group."""
    names = crd["spec"]["names"]
    causes = []
    for resource in built_in:
        if resource.custom or resource.group != crd["spec"]["group"]:
            continue
        singular = resource.singular or resource.kind.lower()
        plurals = {resource.plural, singular, *resource.short_names}
        kinds = {resource.kind, f"{resource.kind}List"}
        claimed = [
            *(("plural", names["plural"], plurals), ("singular", names.get("singular"), plurals)),
            *((("shortNames", name, plurals)) for name in names.get("shortNames") or ()),
            *(("kind", names["kind"], kinds), ("listKind", names.get("listKind"), kinds)),
        ]
        causes += [
            invalid_value(f"spec.names.{field}", name, f"{resource.storage} is built in and has it")
            for field, name, taken in claimed
            if name in taken
        ]
    return causes


def _group_faults(spec: Json) -> Iterator[Cause]:
    group = spec.get("group")
    if not group:
        yield required("spec.group")
    elif not is_subdomain(group):
        yield invalid_value("spec.group", group, SUBDOMAIN_RULE)
    elif "." not in group:
        yield invalid_value("spec.group", group, "should be a domain with at least one dot")


def _name_faults(names: Json) -> Iterator[Cause]:
    for field in ("plural", "kind"):
        if not names.get(field):
            yield required(f"spec.names.{field}")
    single = [(field, names.get(field)) for field in ("plural", "singular", "kind", "listKind")]
    several = [
        (f"{field}[{index}]", name)
        for field in ("shortNames", "categories")
        for index, name in enumerate(names.get(field) or ())
    ]
    for field, name in [*((field, name) for field, name in single if name), *several]:
        lowered = name.lower() if field in ("kind", "listKind") else name
        if not _DNS_LABEL.fullmatch(lowered):
            yield invalid_value(f"spec.names.{field}", name, _DNS_LABEL_RULE)
    if names.get("kind") and names.get("kind") == names.get("listKind"):
        text = "kind and listKind may not be the same"
        yield invalid_value("spec.names.listKind", names["listKind"], text)


def _version_faults(spec: Json) -> Iterator[Cause]:
    versions = spec.get("versions") or []
    names = [version.get("name") for version in versions]
    if len(set(names)) < len(names):
        yield invalid_value("spec.versions", names, "must contain unique version names")
    if sum(bool(version.get("storage")) for version in versions) != 1:
        text = "must have exactly one version marked as storage version"
        yield invalid_value("spec.versions", names, text)
    for index, version in enumerate(versions):
        field = f"spec.versions[{index}]"
        name = version.get("name")
        if not name:
            yield required(f"{field}.name")
        elif not _DNS_LABEL.fullmatch(name):
            yield invalid_value(f"{field}.name", name, _DNS_LABEL_RULE)
        schema = dig(version, "schema", "openAPIV3Schema")
        if schema is not None:
            yield from _schema_faults(schema, f"{field}.schema.openAPIV3Schema")
        for number, column in enumerate(version.get("additionalPrinterColumns") or ()):
            yield from _column_faults(column, f"{field}.additionalPrinterColumns[{number}]")
        for number, selectable in enumerate(version.get("selectableFields") or ()):
            yield from _path_faults(selectable, f"{field}.selectableFields[{number}]")


def _schema_faults(schema: Json, field: str) -> Iterator[Cause]:
    if schema.get("type") not in (None, "object"):
        yield invalid_value(f"{field}.type", schema["type"], "must be object at the root")
    # One wrong type further down breaks clients that read the schemas of all kinds at once.
    waiting = [(field, schema)]
    while waiting:
        path, part = waiting.pop()
        if part.get("type") not in (None, "", *_SCHEMA_TYPES):
            yield not_supported(f"{path}.type", part["type"], _SCHEMA_TYPES)
        waiting += _below(part, path)


def _below(schema: Json, path: str) -> Iterator[tuple[str, Json]]:
    for key in ("properties", "patternProperties", "definitions"):
        for name, part in (schema.get(key) or {}).items():
            yield f"{path}.{key}[{name}]", part
    for key in ("allOf", "anyOf", "oneOf"):
        for index, part in enumerate(schema.get(key) or ()):
            yield f"{path}.{key}[{index}]", part
    for key in ("items", "not", "additionalProperties", "additionalItems"):
        if isinstance(schema.get(key), dict):
            yield f"{path}.{key}", schema[key]


def _column_faults(column: Json, field: str) -> Iterator[Cause]:
    if not column.get("name"):
        yield required(f"{field}.name")
    if not column.get("type"):
        yield required(f"{field}.type", f"must be one of {','.join(_COLUMN_TYPES)}")
    elif column["type"] not in _COLUMN_TYPES:
        yield invalid_value(
            f"{field}.type", column["type"], f"must be one of {','.join(_COLUMN_TYPES)}"
        )
    if column.get("format") and column["format"] not in _COLUMN_FORMATS:
        text = f"must be one of {','.join(_COLUMN_FORMATS)}"
        yield invalid_value(f"{field}.format", column["format"], text)
    path = column.get("jsonPath")
    if not path:
        yield required(f"{field}.jsonPath", "JSONPath is a required field")
        return
    try:
        find({}, path)
    except ValueError as error:
        yield invalid_value(f"{field}.jsonPath", path, str(error))


def _path_faults(selectable: Json, field: str) -> Iterator[Cause]:
    path = selectable.get("jsonPath")
    if not path:
        yield required(f"{field}.jsonPath")
    elif not _SIMPLE_PATH.fullmatch(path):
        yield invalid_value(f"{field}.jsonPath", path, "must be a simple path such as .spec.color")
    elif path.split(".")[1] == "metadata":
        yield invalid_value(f"{field}.jsonPath", path, "must not point to fields in metadata")
