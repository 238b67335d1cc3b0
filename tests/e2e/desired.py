"""What each edge is to have by the API alone, and what it has; devices of v1beta1 are apart."""

from __future__ import annotations

from typing import Any

from modules.hollow.edge import HollowEdge
from modules.hollow.references import references

from .fleet import KINDS, NEW_EDGES

Json = dict[str, Any]


def wanted(listed: dict[str, dict[str, Json]], edge: str) -> Json:
    """Return what an edge is to have; `listed` is what the API has of each kind, by the key."""
    wants: Json = {}
    needed: set[str] = set()
    for key, pod in listed["pod"].items():
        if pod["spec"].get("nodeName") == edge:
            wants[key] = _essence(pod)
            needed |= set(references(pod))
    for kind in ("configmap", "secret"):
        wants |= {k: _essence(obj) for k, obj in listed[kind].items() if k in needed}
    if edge in NEW_EDGES:
        return wants
    for kind in ("service", "endpoints"):
        wants |= {key: _essence(obj) for key, obj in listed[kind].items()}
    for device in listed["device"].values():
        name = device["metadata"]["name"]
        if "nodeSelector" not in device["spec"]:
            continue  # one of v1beta1
        terms = device["spec"]["nodeSelector"]["nodeSelectorTerms"]
        if terms[0]["matchExpressions"][0]["values"] == [edge]:
            twins = device.get("status", {}).get("twins", ())
            wants[f"device/{name}"] = {
                twin["propertyName"]: (twin["desired"]["value"], twin["desired"]["value"])
                for twin in twins
            }
    return wants


def present(edge: HollowEdge) -> Json:
    """Return what an edge has."""
    kinds = KINDS.keys() - {"device"}
    has = {
        key: _essence(obj)
        for key, obj in edge.objects.items()
        if key.split("/")[1] in kinds and key.startswith("default/")
    }
    if edge.node in NEW_EDGES:
        return has
    for name, device in edge.devices.items():
        has[f"device/{name}"] = {
            twin: (
                (values.get("expected") or {}).get("value"),
                (values.get("actual") or {}).get("value"),
            )
            for twin, values in device["twin"].items()
        }
    return has


def _essence(obj: Json) -> Any:
    """Reduce an object to what tells it apart from another of its name or an older state."""
    metadata = obj["metadata"]
    return (
        metadata["uid"],
        metadata.get("labels"),
        obj.get("data"),
        metadata.get("deletionTimestamp"),
    )
