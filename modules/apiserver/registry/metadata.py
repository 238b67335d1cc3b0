"""ObjectMeta: validation of what a client sends, and the fields that the server sets.

Rules follow k8s.io/apimachinery/pkg/api/validation/objectmeta.go and
k8s.io/apiserver/pkg/registry/rest.
"""

from __future__ import annotations

import re
import uuid
from typing import Any

from modules.apiserver.catalog import Resource
from modules.apiserver.meta.names import SUBDOMAIN_RULE, generate_name
from modules.apiserver.meta.objects import MOST_DEPTH, Json, is_too_deep
from modules.apiserver.meta.status import (
    Cause,
    bad_request,
    conflict,
    invalid,
    invalid_value,
    modified,
    required,
)
from modules.common.dns_names import is_subdomain
from modules.common.times import format_now

_LABEL_NAME = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")
_LABEL_RULE = (
    "a valid label must consist of alphanumeric characters, '-', '_' or '.', and must start and "
    "end with an alphanumeric character, 63 characters at most"
)
MOST_ANNOTATIONS_BYTES = 256 * 1024

# Fields that a client cannot change once the object exists.
_KEPT = (
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "generateName",
    "generation",
    "name",
    "namespace",
    "resourceVersion",
    "uid",
)
_SERVER_SIDE = ("deletionGracePeriodSeconds", "deletionTimestamp", "managedFields", "selfLink")


def adopt(obj: Any, resource: Resource, namespace: str) -> Json:
    """Check that `obj` belongs to the path of the request; set kind, apiVersion and namespace."""
    if not isinstance(obj, dict):
        raise bad_request("the body of the request must be a JSON object")
    if is_too_deep(obj):
        raise bad_request(f"the object is nested more than {MOST_DEPTH} levels deep")
    for field, expected in (("apiVersion", resource.api_version), ("kind", resource.kind)):
        found = obj.get(field) or expected
        if found != expected:
            raise bad_request(
                f"the object's {field} is {found!r}, but the path of the request is that of "
                f"{resource.kind} in {resource.api_version}"
            )
    # The types of spec and status of a custom resource are given by its schema.
    for field in ("metadata",) if resource.custom else ("metadata", "spec", "status"):
        if obj.get(field) is not None and not isinstance(obj[field], dict):
            raise bad_request(f"{field} must be a JSON object")
    metadata = obj.get("metadata") or {}
    if resource.namespaced:
        if (metadata.get("namespace") or namespace) != namespace:
            raise bad_request(
                "the namespace of the provided object does not match the namespace sent on the "
                f"request: {metadata['namespace']!r}, {namespace!r}"
            )
        metadata = {**metadata, "namespace": namespace}
    elif metadata.get("namespace"):
        raise bad_request(f"{resource.plural} have no namespace")
    rest = {key: value for key, value in obj.items() if key not in ("kind", "apiVersion")}
    return {
        "kind": resource.kind,
        "apiVersion": resource.api_version,
        **rest,
        "metadata": metadata,
    }


def start(metadata: Json) -> None:
    """Set the fields of a new object."""
    if metadata.get("resourceVersion"):
        raise bad_request("resourceVersion should not be set on objects to be created")
    for field in _SERVER_SIDE:
        metadata.pop(field, None)
    metadata["uid"] = str(uuid.uuid4())
    metadata["creationTimestamp"] = format_now()
    metadata.pop("generation", None)
    if not metadata.get("name") and metadata.get("generateName"):
        metadata["name"] = generate_name(str(metadata["generateName"]))


def carry_over(new: Json, old: Json, resource: Resource, *, replaces: bool) -> None:
    """Refuse an update of another version of the object; keep the fields that the server sets.

    The uid is a precondition of a request that `replaces` the object, and part of what a patch
    would change.
    """
    ours, theirs = old["metadata"], new["metadata"]
    name = ours["name"]
    if theirs.get("name") != name:
        raise bad_request(
            f"the name of the object ({theirs.get('name')}) does not match the name on the URL "
            f"({name})"
        )
    version = theirs.get("resourceVersion")
    if version not in (None, "", "0") and version != ours["resourceVersion"]:
        raise modified(resource.plural, resource.group, name)
    if theirs.get("uid") and theirs["uid"] != ours["uid"]:
        if not replaces:
            fault = invalid_value("metadata.uid", theirs["uid"], "field is immutable")
            raise invalid(resource.kind, resource.group, name, [fault])
        raise conflict(
            resource.plural,
            resource.group,
            name,
            f"Precondition failed: UID in precondition: {theirs['uid']}, UID in object meta: "
            f"{ours['uid']}",
        )
    for field in (*_KEPT, *_SERVER_SIDE):
        theirs.pop(field, None)
        if field in ours:
            theirs[field] = ours[field]


def validate(metadata: Json) -> list[Cause]:
    causes = []
    name = metadata.get("name")
    if not name:
        causes.append(required("metadata.name", "name or generateName is required"))
    elif not isinstance(name, str) or not is_subdomain(name):
        causes.append(invalid_value("metadata.name", name, SUBDOMAIN_RULE))
    labels = _strings(metadata, "labels")
    annotations = _strings(metadata, "annotations")
    finalizers = metadata.get("finalizers")
    if finalizers is not None and not _is_texts(finalizers):
        raise bad_request("metadata.finalizers must be a list of strings")
    for key, value in labels.items():
        causes += _key_faults(key, "metadata.labels")
        if value and (len(value) > 63 or not _LABEL_NAME.fullmatch(value)):
            causes.append(invalid_value("metadata.labels", value, _LABEL_RULE))
    for key in annotations:
        causes += _key_faults(key, "metadata.annotations")
    size = sum(len(key) + len(value) for key, value in annotations.items())
    if size > MOST_ANNOTATIONS_BYTES:
        limit = f"may have {MOST_ANNOTATIONS_BYTES} bytes in all"
        causes.append(invalid_value("metadata.annotations", size, limit))
    return causes


def _key_faults(key: str, field: str) -> list[Cause]:
    prefix, slash, name = key.rpartition("/")
    if slash and not is_subdomain(prefix):
        return [invalid_value(field, key, f"prefix part: {SUBDOMAIN_RULE}")]
    if len(name) > 63 or not _LABEL_NAME.fullmatch(name):
        return [invalid_value(field, key, f"name part: {_LABEL_RULE}")]
    return []


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _strings(metadata: Json, field: str) -> dict[str, str]:
    value = metadata.get(field)
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
        raise bad_request(f"metadata.{field} must be a map of strings to strings")
    return value
